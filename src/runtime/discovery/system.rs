//! What the machine says about names: `/etc/resolv.conf` and `/etc/hosts`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use hickory_resolver::proto::rr::Name;

use super::files::{self, Stamp};

/// Larger files are not believed.
const SIZE_MAX: u64 = 1024 * 1024;
/// As many as the C library asks.
const SERVERS_MAX: usize = 3;
/// As many as the C library took for decades.
const SEARCH_MAX: usize = 6;
/// Of a name with fewer dots the search list comes first; the C library takes no more than this.
const NDOTS_MAX: usize = 15;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
        }
    }
}

/// What both files say.
#[derive(Debug, Default)]
pub(super) struct System {
    pub(super) conf: ResolvConf,
    hosts: HashMap<Box<str>, Vec<IpAddr>>,
}

/// The state of both files.
pub(super) type Stamps = [Option<Stamp>; 2];

impl Paths {
    /// The state of both files. Blocks.
    pub(super) fn stamps(&self) -> Stamps {
        [Stamp::of(&self.resolv_conf), Stamp::of(&self.hosts)]
    }

    /// Reads both files. One that cannot be read is as good as empty. Blocks.
    pub(super) fn read(&self) -> System {
        let text = |path: &Path| files::text(path, SIZE_MAX).unwrap_or_default();
        System {
            conf: ResolvConf::parse(&text(&self.resolv_conf)),
            hosts: hosts(&text(&self.hosts)),
        }
    }
}

impl System {
    /// The addresses that `/etc/hosts` has for a name; `name` is in lower case.
    pub(super) fn host(&self, name: &str) -> Option<&[IpAddr]> {
        self.hosts
            .get(name.strip_suffix('.').unwrap_or(name))
            .map(Vec::as_slice)
    }
}

/// `/etc/resolv.conf`, as far as it matters here: see resolv.conf(5). How long and how often is asked is said in `[dns]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// Whom to ask, in this order.
    pub(super) servers: Vec<IpAddr>,
    /// What is tried behind a name.
    pub(super) search: Vec<Name>,
    /// With as many dots a name is first tried as it is.
    pub(super) ndots: usize,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: vec![Ipv4Addr::LOCALHOST.into()],
            search: Vec::new(),
            ndots: 1,
        }
    }
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
                Some("search" | "domain") => conf.search = words.filter_map(domain).take(SEARCH_MAX).collect(),
                Some("options") => {
                    for ndots in words.filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok()) {
                        conf.ndots = ndots.min(NDOTS_MAX);
                    }
                }
                _ => {}
            }
        }
        if !servers.is_empty() {
            servers.truncate(SERVERS_MAX);
            conf.servers = servers;
        }
        conf
    }
}

fn domain(word: &str) -> Option<Name> {
    let mut name = Name::from_ascii(word).ok().filter(|name| !name.is_root())?;
    name.set_fqdn(true);
    Some(name)
}

fn hosts(text: &str) -> HashMap<Box<str>, Vec<IpAddr>> {
    let mut hosts: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        for name in words {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            hosts.entry(name.into()).or_default().push(address);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(servers: &[&str], search: &[&str], ndots: usize) -> ResolvConf {
        ResolvConf {
            servers: servers.iter().map(|ip| ip.parse().unwrap()).collect(),
            search: search.iter().map(|name| Name::from_ascii(name).unwrap()).collect(),
            ndots,
        }
    }

    #[test]
    fn resolv_conf() {
        let table = [
            ("", conf(&["127.0.0.1"], &[], 1)),
            (
                "# Docker\nnameserver 127.0.0.11\nsearch corp.example lan\noptions ndots:0 edns0 trust-ad\n",
                conf(&["127.0.0.11"], &["corp.example.", "lan."], 0),
            ),
            (
                "search a.svc.cluster.local svc.cluster.local.\nnameserver 10.96.0.10 ; inside\noptions ndots:5\n",
                conf(&["10.96.0.10"], &["a.svc.cluster.local.", "svc.cluster.local."], 5),
            ),
            (
                "domain one\nsearch two\nnameserver ::1\nnameserver nonsense\nnameserver\noptions ndots:99 ndots:x",
                conf(&["::1"], &["two."], 15),
            ),
            ("search .\nsearch -- lan\n", conf(&["127.0.0.1"], &["lan."], 1)),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n",
                conf(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], &[], 1),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(ResolvConf::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn hosts_file() {
        let system = System {
            hosts: hosts(
                "127.0.0.1 localhost\n::1 localhost\tIP6-Localhost # both\n#10.0.0.1 old\nnonsense here\n10.0.0.2 api api.lan.",
            ),
            ..System::default()
        };
        let found = |name| {
            system
                .host(name)
                .map(|ips| ips.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(found("localhost"), Some(vec!["127.0.0.1".to_owned(), "::1".to_owned()]));
        assert_eq!(found("ip6-localhost"), Some(vec!["::1".to_owned()]));
        assert_eq!(found("api.lan"), Some(vec!["10.0.0.2".to_owned()]));
        assert_eq!(found("api."), Some(vec!["10.0.0.2".to_owned()]));
        assert_eq!((found("old"), found("here")), (None, None));
    }

    #[test]
    fn files_that_are_not_there_are_empty() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths {
            resolv_conf: directory.path().join("resolv.conf"),
            hosts: directory.path().join("hosts"),
        };
        assert_eq!(paths.read().conf, ResolvConf::default());
        let before = paths.stamps();
        std::fs::write(&paths.hosts, "10.0.0.1 api\n").unwrap();
        assert_ne!(paths.stamps(), before);
        assert_eq!(paths.read().host("api").map(<[_]>::len), Some(1));
    }
}

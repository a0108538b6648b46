//! Where the servers of an upstream are.

use super::net::{Endpoint, is_host_name};
use crate::config::model::Target;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::value::Integer;

/// A larger weight than anybody needs: the shares of two servers differ by at most this.
pub(crate) const MAX_WEIGHT: u64 = 1000;
/// More requests at a time than any server takes.
pub(crate) const MAX_REQUESTS: u64 = 1_000_000;

table! {
    /// One server of an upstream.
    pub struct Server {
        /// Where it is: `host:port`, `unix:/path` or `srv:NAME`.
        required address: Written<Target>,
        /// Its share of the requests relative to the other servers. Those of an SRV name are in DNS.
        default weight: Integer<1, MAX_WEIGHT> = "1",
        /// Whether it is used only while no other server is fit.
        default backup: bool = "false",
        /// How many requests it works on at a time, each address of a name for itself. What is above waits in `queue`.
        optional max_requests: Integer<1, MAX_REQUESTS> => "any number",
    }
}

impl FromText for Target {
    const KIND: Kind = Kind {
        what: "the address of a server",
        pattern: Some("^([^/ ]+:[0-9]{1,5}|unix:/.+|srv:_.+)$"),
        example: "127.0.0.1:3000",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("`{}` is not the address of a server", clip(text)));
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path, fault);
        }
        if text.starts_with('/') {
            return Err(fault().help(format!("a socket in the file system is `\"unix:{}\"`", clip(text))));
        }
        if let Some(name) = text.strip_prefix("srv:") {
            return srv(name, fault);
        }
        if text.starts_with('_') && !text.contains(':') {
            return Err(fault().help(format!("an SRV name is `\"srv:{}\"`", clip(text))));
        }
        let Endpoint { host, port } = Endpoint::from_text(text)?;
        Ok(Self::Host { host, port })
    }
}

fn unix(path: &str, fault: impl Fn() -> Fault) -> Result<Target, Fault> {
    /// `sun_path` has 108 bytes, the last of which is zero.
    const LONGEST: usize = 107;
    if path.len() > LONGEST {
        return Err(fault().help(format!("the path of a socket has at most {LONGEST} bytes")));
    }
    if !path.starts_with('/') || path.ends_with('/') || path.chars().any(char::is_control) {
        return Err(fault().help("write the whole path: `\"unix:/run/app.sock\"`"));
    }
    Ok(Target::Unix(path.into()))
}

/// RFC 2782: `_service._proto.name`.
fn srv(name: &str, fault: impl Fn() -> Fault) -> Result<Target, Fault> {
    const HELP: &str = "write service, protocol and name: `\"srv:_http._tcp.api.example\"`";
    let mut labels = name.splitn(3, '.');
    let label = |label: Option<&str>| label.is_some_and(|label| label.len() > 1 && label.starts_with('_'));
    if name.contains(':') {
        return Err(fault().help("DNS has the port of an SRV name: leave it away"));
    }
    if !label(labels.next()) || !label(labels.next()) || labels.next().is_none_or(str::is_empty) || !is_host_name(name)
    {
        return Err(fault().help(HELP));
    }
    Ok(Target::Srv(name.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_as_they_are_shown() {
        for text in [
            "127.0.0.1:3000",
            "[::1]:5000",
            "api.internal:80",
            "unix:/run/my app.sock",
            "srv:_http._tcp.api.example",
        ] {
            assert_eq!(
                Target::from_text(text).map(|target| target.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_target_is_explained() {
        let long = format!("unix:/{}", "x".repeat(200));
        for (text, help) in [
            ("/run/app.sock", "`\"unix:/run/app.sock\"`"),
            ("unix:app.sock", "the whole path"),
            ("unix:/run/", "the whole path"),
            ("unix:/a\0b", "the whole path"),
            (long.as_str(), "at most 107"),
            ("_http._tcp.api", "`\"srv:_http._tcp.api\"`"),
            ("srv:_http._tcp.api:80", "leave it away"),
            ("srv:api.example", "service, protocol"),
            ("srv:_http._tcp", "service, protocol"),
            ("srv:_http._tcp.", "service, protocol"),
            ("srv:", "service, protocol"),
            ("api", "port is missing"),
        ] {
            let fault = Target::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }
}

//! Networks of providers, by name. The lists are files beside this one, each with its source and its date: whoever brings
//! one up to date changes these lines and no code.

use ipnet::IpNet;

use crate::networks;

/// Networks that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    list: &'static str,
}

/// All of them.
pub const PRESETS: [Preset; 5] = [
    Preset {
        name: "cloudflare",
        list: include_str!("presets/cloudflare.txt"),
    },
    Preset {
        name: "cloudfront",
        list: include_str!("presets/cloudfront.txt"),
    },
    Preset {
        name: "fastly",
        list: include_str!("presets/fastly.txt"),
    },
    Preset {
        name: "google-cloud",
        list: include_str!("presets/google.txt"),
    },
    Preset {
        name: "private",
        list: include_str!("presets/private.txt"),
    },
];

impl Preset {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// The networks.
    #[must_use]
    pub fn networks(self) -> Vec<IpNet> {
        networks::list(self.list).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_whole_and_says_where_it_is_from() {
        for (name, networks) in [
            ("cloudflare", 22),
            ("cloudfront", 49),
            ("fastly", 21),
            ("google-cloud", 2),
            ("private", 6),
        ] {
            let preset = Preset::named(name).expect(name);
            assert_eq!(
                networks::list(preset.list).map(|list| list.len()),
                Ok(networks),
                "{name}"
            );
            let public = preset.networks().iter().all(|network| network.prefix_len() >= 7);
            assert!(public, "{name} trusts half of the world");
        }
        for preset in PRESETS.iter().filter(|preset| preset.name != "private") {
            let head = preset.list.lines().take(2).collect::<String>();
            assert!(
                head.contains("https://") && head.contains("as of 20"),
                "{}",
                preset.name
            );
        }
    }
}

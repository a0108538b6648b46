//! What tests of this layer share.

use std::path::Path;

use crate::config;
use crate::config::model::{Upstream, UpstreamTls};

/// An upstream by the keys of its table; where they name no servers, one that nobody asks.
pub(super) fn upstream(keys: &str) -> Upstream {
    let servers = if keys.contains("servers") { "" } else { "servers = [\"127.0.0.1:9\"]" };
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstream.api]\n{servers}\n{keys}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"api\"\n"
    );
    match config::parse("test.toml", &text, Path::new("/"), &|_| None) {
        Ok(loaded) => loaded.config.upstreams.into_iter().next().expect("an upstream"),
        Err(report) => panic!("{}", report.render_text(false)),
    }
}

/// TLS that believes the authorities of a file.
pub(super) fn tls(ca: &Path) -> UpstreamTls {
    UpstreamTls {
        ca: Some(ca.to_owned()),
        certificate: None,
        sni: None,
        verify: true,
    }
}

//! `gateway demo`: the stand-in application, the gateway before it, and what to try.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;

use super::{BAD_ENVIRONMENT, run, say};
use crate::config;
use crate::demo;

/// API replicas that the demo starts.
const REPLICAS: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the admin listener is
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
}

pub(super) fn run(options: &Options) -> u8 {
    // The stand-ins have a runtime of their own: they are another process in life.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let stand_in = match runtime.block_on(demo::StandIn::start(REPLICAS)) {
        Ok(stand_in) => stand_in,
        Err(error) => return failed(&error),
    };
    let text = demo::config(stand_in.api(), stand_in.web(), options.listen, options.admin);
    match config::parse("demo.toml", &text, Path::new("."), &|_| None) {
        Ok(loaded) => {
            let (api, web) = (stand_in.api().to_vec(), stand_in.web());
            run::serve(loaded.config, move |gateway| {
                let listen = *gateway.addresses().first()?;
                Some(demo::tour(&api, web, listen, gateway.admin_address()))
            })
        }
        Err(report) => {
            say(&report.render_text(false));
            BAD_ENVIRONMENT
        }
    }
}

fn failed(error: &std::io::Error) -> u8 {
    say(&format!("error: cannot start the stand-in application: {error}"));
    BAD_ENVIRONMENT
}

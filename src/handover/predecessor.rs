//! The side of the process that is to serve: what it takes over, and what it says about itself.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::{Offer, PROTOCOL, Reply, VARIABLE};
use crate::edge::Inherited;
use crate::runtime::Keepsakes;

/// How long the offer may take: it is sent before this process is even started.
const OFFER: Duration = Duration::from_secs(10);
/// Most sockets that are taken over.
const SOCKETS: usize = 10_000;

/// The process that this one is to replace.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
}

impl Predecessor {
    /// The one that started this process to be replaced by it. To be asked once, at the start: standard input is taken.
    #[must_use]
    pub fn find() -> Option<Self> {
        std::env::var_os(VARIABLE)?;
        let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let channel = Channel::of(input)?;
        // From now on standard input is what a service's is. Where that fails the channel stays open twice, as long as
        // this process lives: nobody waits for its end.
        if let Ok(nothing) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(nothing);
        }
        Some(Self { channel })
    }

    /// What it hands over.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub fn take(&self) -> Result<(Inherited, Keepsakes), String> {
        let received = self.channel.receive(Instant::now() + OFFER, SOCKETS);
        let message = match received {
            Ok(Some(message)) => message,
            Ok(None) => return Err("the process before this one is gone".to_owned()),
            Err(error) => {
                return Err(format!(
                    "what the process before this one hands over cannot be read: {error}"
                ));
            }
        };
        let about: serde_json::Value = serde_json::from_slice(&message.text).unwrap_or_default();
        if about["protocol"] != PROTOCOL {
            return Err(format!(
                "the gateway that runs ({}) hands over in a way that this version ({}) does not know: stop it and start \
                 this one",
                about["version"].as_str().unwrap_or("of an unknown version"),
                env!("CARGO_PKG_VERSION"),
            ));
        }
        let offer: Offer =
            serde_json::from_value(about).map_err(|error| format!("the hand-over is damaged: {error}"))?;
        if offer.sockets.len() != message.descriptors.len() {
            return Err("the hand-over is damaged: some sockets are missing".to_owned());
        }
        let mut inherited = Inherited::default();
        for (about, socket) in offer.sockets.into_iter().zip(message.descriptors) {
            inherited.add(Some((about.role, about.wanted)), TcpListener::from(socket));
        }
        Ok((inherited, offer.keepsakes))
    }

    /// This process serves: the one before may go. Where that one is gone already, this one serves all the same.
    pub fn replaced(self) {
        let ready = Reply::Ready {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        if let Err(error) = self.reply(&ready) {
            tracing::warn!(%error, "the process before this one is gone already");
        }
    }

    /// This process will not serve, and why.
    pub fn stays(self, why: &str) {
        // Longer than anything that a person reads.
        let why: String = why.chars().take(4000).collect();
        let _ = self.reply(&Reply::Failed(why));
    }

    fn reply(&self, reply: &Reply) -> io::Result<()> {
        self.channel.send(&serde_json::to_vec(reply)?, &[])
    }
}

//! The API over real sockets: fields, statuses, sizes, as they were observed.

mod handlers;
mod server;
mod surface;

use super::*;
use crate::demo::wire::{Answer, ask, listener};

async fn replica() -> Server {
    spawn("a", listener().await, Options::default()).unwrap()
}

async fn get(server: &Server, target: &str) -> Answer {
    ask(server.address(), &format!("GET {target}"), &[], b"").await
}

async fn send(server: &Server, line: &str, json: &str) -> Answer {
    ask(
        server.address(),
        line,
        &["Content-Type: application/json"],
        json.as_bytes(),
    )
    .await
}

fn uid(uid: &str) -> String {
    format!("firebase-uid: {uid}")
}

//! The API: an Express application, as many replicas as wanted over one [`Database`].

mod admin;
mod answer;
mod call;
mod deals;
mod echo;
mod open;
mod personal;
mod routes;
mod shortener;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use answer::Reply;
use call::{Body, Call};

use super::cost::Worker;
use super::data::Database;
use super::digest::sha1;
use super::node::{self, Application, Context, Request, Server};
use super::reply::Response;
use super::websocket;

/// What Express' body parsers take.
const MAX_BODY: usize = 100 * 1024;

/// How a replica behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it shares with the other replicas.
    pub database: Arc<Database>,
    /// Whether requests take the time that they take in the application, and one replica serves one at a time.
    pub latency: bool,
}

/// Starts a replica on a bound listener, in the current runtime. Its name is what `/__echo` tells.
///
/// # Errors
/// The listener has no address.
pub fn spawn(replica: impl Into<String>, listener: TcpListener, options: Options) -> io::Result<Server> {
    let replica = replica.into();
    let [a, b, c, d, ..] = sha1(replica.as_bytes());
    let worker = Worker::new(options.latency, u64::from(u32::from_be_bytes([a, b, c, d])));
    node::spawn(
        listener,
        App {
            replica,
            worker,
            database: options.database,
        },
    )
}

struct App {
    replica: String,
    worker: Worker,
    database: Arc<Database>,
}

impl Application for App {
    async fn answer(&self, request: Request, server: &Context) -> Response {
        match request.uri().path() {
            "/__echo" => return echo::echo(request, &self.replica).await,
            "/__stop" if request.method() == Method::POST => return echo::stop(&request, server),
            "/ws/echo" => return websocket::accept(request, server),
            _ => {}
        }
        if request.method() == Method::OPTIONS {
            return answer::preflight(request.headers());
        }
        let (head, body) = request.into_parts();
        let body = match call::parser(&head.headers) {
            None => Body::Absent,
            Some(parser) => match collect(body).await {
                Some(bytes) => parser(&bytes),
                None => Body::Broken,
            },
        };
        let call = Call::new(head, body);
        let reply = self.reply(&call).await;
        reply.into_response(&call)
    }
}

impl App {
    async fn reply(&self, call: &Call) -> Reply {
        if call.body_is_broken() {
            return Reply::broken();
        }
        let Some((price, handler)) = routes::find(call) else {
            return Reply::NoSuchRoute;
        };
        self.worker.charge(price, &self.database.pool).await;
        handler(call, &self.database).unwrap_or_else(|refusal| refusal)
    }
}

/// Reads a body to its end, as the parser does even where it is too large; `None`: it was, or it broke off.
async fn collect(mut body: hyper::body::Incoming) -> Option<Bytes> {
    let mut collected = Vec::new();
    let mut fits = true;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            fits = fits && collected.len() + data.len() <= MAX_BODY;
            if fits {
                collected.extend_from_slice(&data);
            }
        }
    }
    fits.then(|| Bytes::from(collected))
}

/// An error in the words of the application.
fn refusal(status: StatusCode, text: &str) -> Reply {
    Reply::json(status, &serde_json::json!({ "error": text }))
}

#[cfg(test)]
mod tests;

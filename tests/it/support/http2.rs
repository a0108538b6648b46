//! HTTP/2 with a gateway over TLS.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::PATIENCE;
use super::gateway::{self, Running};
use super::tls::Authority;

/// A gateway that speaks TLS; `server`: lines of `[server]`, `upstream`: of `[upstream.app]`.
pub(crate) async fn before(
    authority: &Authority,
    server: &str,
    address: std::net::SocketAddr,
    upstream: &str,
) -> Running {
    let (cert, key) = authority.site("site", &["site.test"]);
    gateway::start(&format!(
        "{server}\n[tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = {cert:?}\nkey = {key:?}\n\
         [upstream.app]\nservers = [\"{address}\"]\n{upstream}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n"
    ))
    .await
}

pub(crate) async fn connect(gateway: &Running, authority: &Authority) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(gateway.tls()).await.expect("connect");
    let config = Arc::new(authority.trusting(&["h2"], None));
    let stream = TlsConnector::from(config)
        .connect(ServerName::try_from("site.test").expect("a name"), tcp)
        .await
        .expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    stream
}

/// A client; its connection lives until it and all its requests are gone.
pub(crate) async fn client(gateway: &Running, authority: &Authority) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(connect(gateway, authority).await)
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    client
}

pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn ask(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Answer, h2::Error> {
    timeout(PATIENCE, async {
        *client = client.clone().ready().await?;
        let (response, mut stream) = client.send_request(request, body.is_none())?;
        if let Some(body) = body {
            // A refusal may have come before it.
            let _ = stream.send_data(body, true);
        }
        let (head, mut body) = response.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            let _ = body.flow_control().release_capacity(data.len());
            bytes.extend_from_slice(&data);
        }
        Ok(Answer {
            head: Response::from_parts(head, ()),
            body: bytes,
            trailers: body.trailers().await?,
        })
    })
    .await
    .expect("an answer in time")
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("https://site.test{path}"))
        .body(())
        .expect("a request")
}

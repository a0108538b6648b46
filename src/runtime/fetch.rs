//! Documents of others by HTTP/1.1: small, bounded, on a connection of their own, no redirections.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::tls::ClientTls;

/// Where something is fetched.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) url: &'a Uri,
    /// For `https`.
    pub(super) tls: Option<&'a ClientTls>,
}

/// The body of the document, if it is there (200) and not larger than `most` bytes. The caller limits the time.
///
/// # Errors
/// What went wrong, in words for a log.
pub(super) async fn get(target: Target<'_>, most: usize) -> Result<Bytes, String> {
    let request = Request::get(target.url)
        .header(header::ACCEPT, "application/json")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let answer = call(target, request, most).await?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        status => Err(format!("the answer is {status}")),
    }
}

/// The answer to a request, whatever its status, if its body is not larger than `most` bytes. Host and the name of the
/// client are filled in. The caller limits the time.
///
/// # Errors
/// What went wrong, in words for a log.
pub(super) async fn call(
    target: Target<'_>,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Response<Bytes>, String> {
    let stream = connect(target.url, target.tls.is_some()).await?;
    match target.tls {
        None => exchange(stream, target.url, request, most).await,
        Some(tls) => {
            let host = target.url.host().unwrap_or_default().trim_matches(['[', ']']);
            let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(tls.config(&[b"http/1.1"]));
            let secured = connector.connect(name, stream).await;
            let secured = secured.map_err(|error: io::Error| format!("TLS: {error}"))?;
            exchange(secured, target.url, request, most).await
        }
    }
}

/// A connection to the host of a URL.
///
/// # Errors
/// What went wrong, in words for a log.
pub(super) async fn connect(url: &Uri, tls: bool) -> Result<TcpStream, String> {
    let authority = url.authority().ok_or("the URL has no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("connecting: {error}"))
}

async fn exchange<S>(
    stream: S,
    url: &Uri,
    mut request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Response<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let host = HeaderValue::try_from(host).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("deals247-gateway/", env!("CARGO_PKG_VERSION"))),
    );
    let answer = async {
        let (parts, body) = sender.send_request(request).await.map_err(words)?.into_parts();
        let body = Limited::new(body, most)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = connection => {} // whatever ended it, the answer knows
    }
    answer.await
}

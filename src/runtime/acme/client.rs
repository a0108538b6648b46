//! How the authority is spoken with: our own small client, so that its certificate is verified as every other server's.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::time::timeout;

use crate::config::model;
use crate::runtime::ClientTls;
use crate::runtime::fetch::{self, Target};
use crate::tls::TlsFault;

/// What one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read, bytes.
const LARGEST: usize = 1024 * 1024;

/// A client of one authority.
#[derive(Clone)]
pub(super) struct Client {
    tls: Arc<ClientTls>,
}

impl Client {
    pub(super) fn of(acme: &model::Acme) -> Result<Self, TlsFault> {
        let tls = ClientTls::load(&model::UpstreamTls {
            ca: acme.ca.clone(),
            certificate: None,
            sni: None,
            verify: true,
        })?;
        Ok(Self { tls: Arc::new(tls) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<bytes::Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let other = |words: String| Error::Other(words.into());
            let (parts, body) = request.into_parts();
            // Whatever the authority's directory names is spoken with over TLS, or not at all.
            if parts.uri.scheme_str() != Some("https") {
                return Err(other(format!("{} is not https", parts.uri)));
            }
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let url = parts.uri.clone();
            let target = Target {
                url: &url,
                tls: Some(&tls),
            };
            let request = Request::from_parts(parts, Full::new(body));
            let answer = timeout(PATIENCE, fetch::call(target, request, LARGEST)).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
            let host = url.host().unwrap_or_default();
            let answer = answer.map_err(|error| other(format!("{host}: {error}")))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

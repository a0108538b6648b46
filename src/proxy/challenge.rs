//! An authority asks whether a name is ours (RFC 8555 §8.3).

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::Exchange;
use crate::answer::{Answer, Reason};

impl Exchange {
    /// What it is told.
    pub(super) async fn key_authorization(&self, token: &str) -> Answer {
        let answer = match &self.snapshot.acme {
            Some(acme) => acme.answer(token).await,
            None => None,
        };
        match answer {
            Some(answer) => Answer::Content {
                status: StatusCode::OK,
                content_type: HeaderValue::from_static("application/octet-stream"),
                body: Bytes::copy_from_slice(answer.as_bytes()),
                fields: vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
            },
            None => Answer::refuse(Reason::NotFound),
        }
    }
}

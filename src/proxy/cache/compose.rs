//! What a client gets of a stored answer: all of it, a part, or word that it has it already.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, request, response};

use super::super::Exchange;
use super::super::fetch::Fetched;
use super::begin::Asking;
use super::{Served, Source, now};
use crate::cache::Status;
use crate::cache::store::{Body, Entry, Reader};
use crate::conditional::{self, ByteRange, Validators};
use crate::policy::{Effort, Encoder};

/// Bodies up to this size are encoded on the spot, bytes; larger ones aside, so that nobody waits for them.
const AT_ONCE: u64 = 64 << 10;

/// Fields that describe a body, and so are not on a 304 (RFC 9110 §15.4.5).
const OF_THE_BODY: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
];

impl Exchange {
    /// Gives a stored answer, or one that arrives to be stored. `aged`: it was not made for this request.
    pub(super) fn give(
        &mut self,
        asking: &Asking,
        request: &request::Parts,
        entry: &Arc<Entry>,
        status: Status,
        aged: bool,
    ) -> Served {
        self.give_from(asking, request, entry, status, aged, None)
    }

    /// The same with a reader that stands at the beginning of the body.
    pub(super) fn give_from(
        &mut self,
        asking: &Asking,
        request: &request::Parts,
        entry: &Arc<Entry>,
        status: Status,
        aged: bool,
        reader: Option<Reader>,
    ) -> Served {
        let mut fields = entry.fields.to_map();
        if aged {
            if status.forward_status.is_none() {
                for name in &entry.terms.no_cache_fields {
                    fields.remove(name);
                }
            }
            fields.insert(header::AGE, entry.terms.age(now()).as_secs().into());
        }
        let length = entry.body.length().or_else(|| length(&fields));
        let mut code = entry.status;
        let mut part = (0, None);
        let ok = entry.status == StatusCode::OK;
        let current = Validators::from_headers(&fields);
        if ok && conditional::not_modified(&request.headers, current) {
            code = StatusCode::NOT_MODIFIED;
        } else if let (true, Some(total)) = (ok, length) {
            match conditional::byte_range(&request.method, &request.headers, total, current) {
                ByteRange::Full => {}
                ByteRange::Partial { first, last } => {
                    code = StatusCode::PARTIAL_CONTENT;
                    part = (first, Some(last + 1));
                    fields.insert(header::CONTENT_RANGE, text(format!("bytes {first}-{last}/{total}")));
                    fields.insert(header::CONTENT_LENGTH, (last + 1 - first).into());
                }
                ByteRange::Unsatisfiable => {
                    code = StatusCode::RANGE_NOT_SATISFIABLE;
                    fields.insert(header::CONTENT_RANGE, text(format!("bytes */{total}")));
                    fields.insert(header::CONTENT_LENGTH, 0.into());
                    for name in [
                        header::CONTENT_TYPE,
                        header::CONTENT_ENCODING,
                        header::ETAG,
                        header::LAST_MODIFIED,
                    ] {
                        fields.remove(name);
                    }
                }
            }
        }
        let bodiless = super::super::hygiene::never_has_body(code);
        if code == StatusCode::NOT_MODIFIED {
            OF_THE_BODY.iter().for_each(|name| drop(fields.remove(name)));
        } else if code == entry.status
            && let Some(total) = length
            && !bodiless
            && !fields.contains_key(header::CONTENT_LENGTH)
        {
            fields.insert(header::CONTENT_LENGTH, total.into());
        }
        let nothing = bodiless || code == StatusCode::RANGE_NOT_SATISFIABLE || request.method == Method::HEAD;
        let mut source = match nothing {
            true => Source::Nothing,
            false => Source::Kept(match reader {
                Some(reader) if part == (0, None) => reader,
                _ => entry.body.reader(part.0, part.1),
            }),
        };
        self.cache_status = Some(status);
        let mut head = self.head(asking, request, code, fields);
        if let Some(form) = self.encoded(asking, entry) {
            head.headers.remove(header::TRANSFER_ENCODING);
            if let Some(length) = form.length() {
                head.headers.insert(header::CONTENT_LENGTH, length.into());
            }
            source = Source::Kept(form.reader(0, None));
            self.encoder = None;
        }
        Served::Answer(head, source)
    }

    /// The form of a stored answer that the client is to get: kept, or made now for all who come.
    fn encoded(&self, asking: &Asking, entry: &Arc<Entry>) -> Option<Arc<Body>> {
        let coding = self.encoder.as_ref()?.beginning()?;
        if let Some(form) = entry.body.form(coding.name()) {
            return Some(form);
        }
        let length = entry.body.chunks().and(entry.body.length())?;
        if !entry.body.claim_form(coding.name()) {
            return None; // somebody makes it: this one is encoded on its way
        }
        let (body, running, key) = (Arc::clone(&entry.body), Arc::clone(&asking.cache.running), asking.key);
        let make = move || {
            // Made once: whatever the route spares on its way, here the work pays.
            let mut encoder = Encoder::new(coding, Effort::Balanced, false);
            let mut pieces = Vec::new();
            for chunk in body.chunks()? {
                pieces.push(encoder.encode(chunk, false).ok()?);
            }
            pieces.push(encoder.encode(&[], true).ok()?);
            let form = Body::whole(pieces);
            body.put_form(coding.name(), Arc::clone(&form));
            running.store.reweigh(&key, &body);
            Some(form)
        };
        if length <= AT_ONCE {
            return make();
        }
        drop(tokio::task::spawn_blocking(make));
        None
    }

    /// Gives what the application answered, to the one who asked.
    pub(super) fn pass(
        &mut self,
        asking: &Asking,
        request: &request::Parts,
        fetched: Box<Fetched>,
        status: Status,
    ) -> Served {
        self.cache_status = Some(status);
        let fields = fetched.head.headers.clone();
        let code = fetched.head.status;
        Served::Answer(self.head(asking, request, code, fields), Source::Passing(fetched))
    }

    fn head(
        &mut self,
        asking: &Asking,
        request: &request::Parts,
        code: StatusCode,
        mut fields: HeaderMap,
    ) -> response::Parts {
        if asking.cache.policy.strip_cookies {
            fields.remove(header::SET_COOKIE);
        }
        self.deliver(request, code, &mut fields);
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = code;
        parts.headers = fields;
        parts
    }

    /// Tells the client what the cache did, and its browser how long to keep the answer. On every final answer of a route
    /// with a cache, before its other policies.
    pub(in crate::proxy) fn announce_cache(&self, status: StatusCode, fields: &mut HeaderMap) {
        let Some(said) = &self.cache_status else { return };
        said.write(fields);
        let policy = self
            .route
            .as_ref()
            .and_then(|route| route.cache.as_ref())
            .map(|cache| &cache.policy);
        let Some(browser) = policy.and_then(|policy| policy.browser.as_ref()) else {
            return;
        };
        // What is for one user stays so, and what is no success is not worth a year.
        let for_all = said.verdict() != crate::cache::Verdict::Bypass && !is_private(fields);
        if for_all && (status.is_success() || status == StatusCode::NOT_MODIFIED) {
            fields.insert(header::CACHE_CONTROL, browser.clone());
            fields.remove(header::EXPIRES);
            fields.remove(header::PRAGMA);
        }
    }
}

fn is_private(fields: &HeaderMap) -> bool {
    let said = crate::cache::ResponseDirectives::of(fields);
    said.no_store || said.private != crate::cache::Scope::None
}

fn length(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

//! One fetch on behalf of everybody who waits: it goes on whoever leaves, and fills the store.

mod pump;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header, request, response};
use tokio::sync::oneshot;

use super::super::Exchange;
use super::super::fetch::{Caller, Failure, Fetched, Interim, fetch};
use super::begin::Asking;
use super::now;
use crate::answer::Reason;
use crate::cache::store::{Body, Entry, Flight, Joined, Lead, Reader};
use crate::cache::{
    self, Address, Exchanged, For, Key, ResponseDirectives, Selector, Terms, Unstorable, clean, conditional, confirms,
    merged, storable, tags, unconditional,
};
use crate::client::Client;
use crate::observe::identity::Identity;
use crate::runtime::{Begun, Landed, Live, Route, RouteCache, Snapshot};

/// What an answer is taken to weigh whose length is not known, bytes.
const GUESS: u64 = 64 << 10;

pub(super) type Waiting = Arc<Flight<Landed>>;
pub(super) type Handed = oneshot::Receiver<Hand>;

/// What the one who asked is given, and nobody else.
pub(super) enum Hand {
    /// An answer that is for nobody else.
    Answer(Box<Fetched>),
    /// The beginning of the body, which is kept for it however fast others read.
    Reader(Reader),
}

/// A part in a fetch.
pub(super) enum Flying {
    /// Somebody else has begun it.
    Wait(Waiting),
    /// It was begun for this request; an answer for nobody else is handed over.
    Lead(Waiting, Handed),
}

/// A fetch to be done.
struct Fill {
    live: Arc<Live>,
    snapshot: Arc<Snapshot>,
    route: Arc<Route>,
    client: Client,
    peer: IpAddr,
    local_port: u16,
    host: Box<str>,
    identity: Option<Identity>,
    interim: Option<Interim>,
    cache: RouteCache,
    key: Key,
    url: Box<str>,
    authority: String,
    /// The request as the application gets it, without conditions.
    request: request::Parts,
    /// The fields that the client sent: what selects the answer.
    selecting: HeaderMap,
    stale: Option<Arc<Entry>>,
    missed: u8,
    /// When it was asked for.
    begun: Begun,
    /// Where the tiers have it, if there are any.
    address: Option<Address>,
    lead: Lead<(Key, u64), Landed>,
    /// To the one who asked, if the answer is for nobody else.
    hand: Option<oneshot::Sender<Hand>>,
}

impl Exchange {
    /// Takes part in the fetch of a key, or begins it. `like`: an answer of the same URL, which says how requests are told
    /// apart: those that are do not wait for one another.
    pub(super) fn join(
        &self,
        asking: &Asking,
        request: &request::Parts,
        stale: Option<&Arc<Entry>>,
        like: Option<&Arc<Entry>>,
        alone: bool,
    ) -> Flying {
        let flights = &asking.cache.running.flights;
        let key = flight_key(asking, request, like);
        let joined = match alone {
            true => Joined::Lead(flights.alone(&key)),
            false => flights.join(&key),
        };
        self.take_part(asking, request, stale, joined)
    }

    /// Takes over from a fetch that is too slow.
    pub(super) fn take_over(
        &self,
        asking: &Asking,
        request: &request::Parts,
        stale: Option<&Arc<Entry>>,
        like: Option<&Arc<Entry>>,
        slow: &Waiting,
    ) -> Flying {
        let key = flight_key(asking, request, like);
        let joined = asking.cache.running.flights.take_over(&key, slow);
        self.take_part(asking, request, stale, joined)
    }

    /// Has a stale answer replaced, if nobody does already.
    pub(super) fn refresh(&self, asking: &Asking, request: &request::Parts, stale: &Arc<Entry>) {
        drop(self.join(asking, request, Some(stale), Some(stale), false));
    }

    fn take_part(
        &self,
        asking: &Asking,
        request: &request::Parts,
        stale: Option<&Arc<Entry>>,
        joined: Joined<(Key, u64), Landed>,
    ) -> Flying {
        let lead = match joined {
            Joined::Wait(flight) => return Flying::Wait(flight),
            Joined::Lead(lead) => lead,
        };
        let flight = lead.flight();
        let (hand, handed) = oneshot::channel();
        if let Some(fill) = self.fill(asking, request, stale, lead, hand) {
            tokio::spawn(fill.run());
        }
        Flying::Lead(flight, handed)
    }

    fn fill(
        &self,
        asking: &Asking,
        request: &request::Parts,
        stale: Option<&Arc<Entry>>,
        lead: Lead<(Key, u64), Landed>,
        hand: oneshot::Sender<Hand>,
    ) -> Option<Fill> {
        let mut outgoing = http::Request::new(());
        let (url, target, authority) = self.asked(&asking.cache, request, |asked| {
            (asked.url(), asked.target(), asked.authority.to_owned())
        });
        *outgoing.uri_mut() = target.parse().ok()?;
        *outgoing.version_mut() = request.version;
        *outgoing.headers_mut() = request.headers.clone();
        let (mut outgoing, ()) = outgoing.into_parts();
        unconditional(&mut outgoing.headers);
        // What is compared is what the application sees.
        match HeaderValue::try_from(cache::accept_encoding(&request.headers)) {
            Ok(codings) if !codings.is_empty() => drop(outgoing.headers.insert(header::ACCEPT_ENCODING, codings)),
            _ => drop(outgoing.headers.remove(header::ACCEPT_ENCODING)),
        }
        let store = &asking.cache.running.store;
        Some(Fill {
            live: Arc::clone(&self.live),
            snapshot: Arc::clone(&self.snapshot),
            route: Arc::clone(self.route.as_ref()?),
            client: self.client,
            peer: self.peer_ip,
            local_port: self.local_port,
            host: self.host.clone(),
            identity: self.identity.clone(),
            interim: self.interim.clone(),
            cache: asking.cache.clone(),
            key: asking.key,
            url: url.into(),
            authority,
            request: outgoing,
            selecting: request.headers.clone(),
            stale: stale.cloned(),
            missed: store.miss(&asking.key),
            begun: asking.cache.begin(),
            address: self.address(asking, request),
            lead,
            hand: Some(hand),
        })
    }
}

fn flight_key(asking: &Asking, request: &request::Parts, like: Option<&Arc<Entry>>) -> (Key, u64) {
    (
        asking.key,
        like.map_or(0, |entry| entry.selector.group(&request.headers)),
    )
}

impl Fill {
    async fn run(self) {
        let stale = self.stale.clone();
        let mut question = self.request.headers.clone();
        let mut asks = stale
            .as_ref()
            .is_some_and(|entry| conditional(&mut question, &entry.fields.to_map()));
        loop {
            let asked = now();
            let fields = if asks { &question } else { &self.request.headers };
            let fetched = match self.fetch(fields.clone()).await {
                Ok(fetched) => fetched,
                Err(failure) => {
                    self.lead.land(failure.into());
                    return;
                }
            };
            let exchanged = Exchanged { asked, answered: now() };
            match &stale {
                Some(entry) if asks && fetched.head.status == StatusCode::NOT_MODIFIED => {
                    if confirms(&entry.fields.to_map(), &fetched.head.headers) {
                        return self.confirmed(entry, &fetched.head.headers, exchanged);
                    }
                    // It speaks of another answer than ours: once more, without a condition.
                    asks = false;
                }
                _ => return self.arrived(fetched, exchanged).await,
            }
        }
    }

    async fn fetch(&self, fields: HeaderMap) -> Result<Fetched, Failure> {
        self.cache.running.metrics.fetched();
        let caller = Caller {
            client: self.client,
            peer: self.peer,
            local_port: self.local_port,
            host: self.host.clone(),
            identity: self.identity.clone(),
            interim: self.interim.clone(),
            further: HeaderMap::new(),
        };
        let mut request = self.request.clone();
        request.headers = fields;
        let (snapshot, route) = (Arc::clone(&self.snapshot), Arc::clone(&self.route));
        fetch(&self.live, snapshot, route, caller, &request).await
    }

    /// Offers an answer to the tiers.
    fn offer(&self, entry: &Arc<Entry>) {
        if let Some(address) = self.address {
            self.cache.offer(&self.key, address, entry, self.missed, &self.begun);
        }
    }

    fn asked_for(&self) -> For<'_> {
        For {
            path: self.request.uri.path(),
            fields: &self.selecting,
            no_store: false,
        }
    }

    /// The application says that the stored answer is good (RFC 9111 §4.3.4).
    fn confirmed(&self, entry: &Arc<Entry>, not_modified: &HeaderMap, exchanged: Exchanged) {
        let policy = &self.cache.policy;
        let store = &self.cache.running.store;
        let mut fields = merged(&entry.fields.to_map(), not_modified);
        let judged = storable(policy, &self.asked_for(), entry.status, &fields, exchanged);
        let stored = judged.is_ok();
        let terms = judged.unwrap_or_else(|_| {
            drop(self.cache.forget(&self.key, entry));
            let directives = ResponseDirectives::of(&fields);
            let mut terms = Terms::new(policy, &directives, entry.status, &fields, exchanged);
            terms.no_cache = true; // for the one who asked
            terms
        });
        clean(policy, &mut fields);
        let selector = Selector::new(policy, &self.selecting, &fields);
        let mut new = entry.updated(&fields, terms, selector);
        new.tags = tags(policy, &self.authority, &fields).into();
        let new = Arc::new(new);
        if stored {
            store.exchange(&self.key, entry, Arc::clone(&new), &self.begun.since);
            self.offer(&new);
        }
        self.lead.land(Landed::Entry {
            entry: new,
            status: StatusCode::NOT_MODIFIED,
            stored,
            instead: None,
        });
    }

    /// There is an answer: for everybody, or for the one who asked.
    async fn arrived(mut self, fetched: Fetched, exchanged: Exchanged) {
        let policy = Arc::clone(&self.cache.policy);
        let response::Parts { status, headers, .. } = fetched.head.clone();
        let judged = storable(&policy, &self.asked_for(), status, &headers, exchanged);
        if self.keeps_the_old(status, judged.as_ref().err().copied()) {
            return;
        }
        let weight = length(&headers).unwrap_or(GUESS);
        let known = self.stale.is_some();
        let store = &self.cache.running.store;
        let wanted = known || u32::from(self.missed) >= policy.min_uses && store.admits(weight, self.missed);
        let terms = match judged {
            Ok(terms) if wanted => terms,
            judged => {
                let why = judged.err().unwrap_or(Unstorable::MinUses);
                if !status.is_server_error() {
                    if why.lasts() {
                        store.let_pass(&self.key, exchanged.answered);
                    }
                    // What is newer and not to be kept takes the place of what is older.
                    if let Some(stale) = &self.stale {
                        drop(self.cache.forget(&self.key, stale));
                    }
                }
                if let Some(hand) = self.hand.take() {
                    let _ = hand.send(Hand::Answer(Box::new(fetched)));
                }
                self.lead.land(Landed::Pass { why: why.word() });
                return;
            }
        };
        let mut fields = headers;
        clean(&policy, &mut fields);
        let body = Body::arriving();
        let selector = Selector::new(&policy, &self.selecting, &fields);
        let mut entry = Entry::new(status, &fields, terms, selector, Arc::clone(&body));
        entry.url = self.url.clone();
        entry.extra = self.key.extra;
        entry.tags = tags(&policy, &self.authority, &fields).into();
        let entry = Arc::new(entry);
        if let Some(hand) = self.hand.take() {
            let _ = hand.send(Hand::Reader(body.reader(0, None)));
        }
        self.lead.land(Landed::Entry {
            entry: Arc::clone(&entry),
            status,
            stored: true,
            instead: None,
        });
        self.pump(fetched, &entry, &body, fields).await;
    }

    /// An old build's file instead of word that it is gone; and never a page where a script was asked for.
    fn keeps_the_old(&self, status: StatusCode, why: Option<Unstorable>) -> bool {
        let Some(keep) = self.cache.policy.keep else {
            return false;
        };
        let page_for_file = why == Some(Unstorable::Deception);
        if !page_for_file && !matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return false;
        }
        let old = self.stale.as_ref().filter(|entry| {
            let since = entry.terms.fresh_for(now()).err().unwrap_or_default();
            entry.status == StatusCode::OK && since < keep
        });
        match old {
            Some(entry) => self.lead.land(Landed::Entry {
                entry: Arc::clone(entry),
                status,
                stored: true,
                instead: Some("kept"),
            }),
            None if page_for_file => self.lead.land(Landed::Failed {
                reason: Reason::NotFound,
                retry_after: None,
            }),
            None => return false,
        }
        true
    }
}

fn length(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

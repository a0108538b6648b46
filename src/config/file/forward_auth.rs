//! `[auth.NAME] forward_auth`

use ::http::HeaderName;

use super::http::RequestTarget;
use crate::config::list::List;
use crate::config::table::table;
use crate::config::text::{Reference, Written};
use crate::config::units::Timeout;
use crate::config::value::Either;
use crate::config::words::words;

table! {
    /// A question to the application: a GET without a body. 2xx lets the request in, and the fields of the answer are the
    /// claims of this table, by their names in lower case; 401, 403 and redirects go to the client; with any other answer,
    /// or none in time, it gets 503.
    pub struct ForwardAuth {
        /// Whom to ask: a name from `[upstream.NAME]`.
        required upstream: Written<Reference>,
        /// The path that is asked for. `X-Forwarded-Method` and `X-Forwarded-Uri` say what the client asks for.
        required path: Written<RequestTarget>,
        /// The fields of the request that go with it, beside `Host` and those that say where it came from.
        default send: List<Written<HeaderName>> = "[\"authorization\", \"cookie\", \"accept\"]",
        /// When the answer must be there.
        default timeout: Written<Timeout> = "\"5s\"",
        /// How long a verdict is good for the same question: `"10s"`, or `{ ttl = "10s", by = "credentials" }`. 2xx, 401 and
        /// 403 are kept, unless the answer says `no-store` or `no-cache`, sets a cookie, or says a shorter `max-age`. The same
        /// question at the same moment is asked once.
        optional cache: Either<Written<Timeout>, VerdictCache> => "each request is asked about",
    }
}

table! {
    /// How long verdicts are kept, and what for.
    pub struct VerdictCache {
        /// How long a verdict is good. Who logs out is let in for so long, at most.
        required ttl: Written<Timeout>,
        /// Which questions are the same.
        default by: SameQuestion = "\"question\"",
    }
}

words! {
    /// Which questions to an application are the same.
    pub enum SameQuestion {
        /// Those in which all is the same that the application is told, method and address among it.
        Question = "question",
        /// Those of the same client (its address, and the fields that are sent), for the same host, whatever is asked for. Only
        /// where the application does not look at `X-Forwarded-Method` and `X-Forwarded-Uri`.
        Credentials = "credentials",
    }
}

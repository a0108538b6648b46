//! `[cache_redis]`

use super::redis::{Credential, KeyPrefix, RedisTls, RedisUrl, Sentinel};
use crate::config::list::OneOrMore;
use crate::config::secret::Secret;
use crate::config::table::table;
use crate::config::text::Written;
use crate::config::units::Timeout;

table! {
    /// A Redis that gateways share for their caches: what one purges, all purge; and where a cache says `redis`, small answers. Its connections are never those of `[redis]`.
    /// Either `url` or `sentinel`.
    pub struct CacheRedis {
        /// Where it is: `redis://` or `rediss://` (TLS), with user and password if it wants them. No Cluster.
        optional url: OneOrMore<Secret<RedisUrl>>,
        /// Sentinels that know where it is.
        optional sentinel: Sentinel,
        /// The user, where no URL has one.
        optional username: Secret<Credential> => "the URL's",
        /// The password, where no URL has one.
        optional password: Secret<Credential> => "the URL's",
        /// Files for TLS, with `rediss://`.
        optional tls: RedisTls,
        /// What one request may wait for an answer from it, where a cache says `redis`; past it, the answer is fetched.
        default timeout: Written<Timeout> = "\"20ms\"",
        /// What every key begins with, where several sites share it.
        default prefix: Written<KeyPrefix> = "\"gwcache:\"",
    }
}

//! The routes of the application: method and path to price and handler.

use super::answer::Reply;
use super::call::Call;
use super::{admin, deals, open, personal, shortener};
use crate::demo::cost::Price;
use crate::demo::data::Database;

/// What answers a route; a refusal is an `Err`, so that `?` can leave with it.
pub(super) type Handler = fn(&Call, &Database) -> Result<Reply, Reply>;

/// The route of a call. Paths are compared as they are: nothing is decoded or normalised, but case does not matter and
/// neither does one slash at the end.
pub(super) fn find(call: &Call) -> Option<(Price, Handler)> {
    let path = call.path.to_ascii_lowercase();
    let path = path.strip_suffix('/').unwrap_or(&path);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let found: (Price, Handler) = match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["api", "health"]) => (Price::HEALTH, open::health),

        ("GET", ["api", "deals"]) => (Price::list(call.count("limit", 12).unwrap_or(12)), deals::list),
        ("POST", ["api", "deals"]) => (Price::WRITE, deals::create),
        ("GET", ["api", "deals", "admin", "deleted"]) => (Price::PERSONAL, deals::deleted),
        ("GET", ["api", "deals", "user", _, "history"]) => (Price::PERSONAL, deals::history),
        ("GET", ["api", "deals", _]) => (Price::DEAL, deals::one),
        ("PUT", ["api", "deals", _]) => (Price::WRITE, deals::change),
        ("DELETE", ["api", "deals", _]) => (Price::WRITE, deals::delete),
        ("POST", ["api", "deals", _, "restore"]) => (Price::WRITE, deals::restore),
        ("POST", ["api", "deals", _, "view"]) => (Price::WRITE, deals::view),
        ("POST", ["api", "engagement", "deal", _, "click"]) => (Price::WRITE, deals::click),

        ("GET", ["api", "categories"]) => (Price::REFERENCE, open::categories),
        ("GET", ["api", "categories", _]) => (Price::REFERENCE, open::category),
        ("GET", ["api", "stores"]) => (Price::REFERENCE, open::stores),
        ("GET", ["api", "stores", _]) => (Price::REFERENCE, open::store),
        ("GET", ["api", "subscriptions", "plans"]) => (Price::HEALTH, open::plans),
        ("GET", ["api", "newsletter", "count"]) => (Price::REFERENCE, open::newsletter_count),
        ("POST", ["api", "newsletter", "subscribe" | "unsubscribe"]) => (Price::WRITE, open::newsletter),
        ("GET", ["api", "reviews", "deal", _]) => (Price::REFERENCE, open::reviews),
        ("GET", ["api", "sponsored", "deals"]) => (Price::REFERENCE, open::sponsored),
        ("POST", ["api", "contact"]) => (Price::MAIL, open::contact),

        ("GET", ["api", "users"]) => (Price::PERSONAL, admin::users),
        ("POST", ["api", "users", "profile"]) => (Price::WRITE, personal::sign_up),
        ("GET", ["api", "users", "profile", _]) => (Price::PERSONAL, personal::profile),
        ("GET", ["api", "favorites"]) => (Price::PERSONAL, personal::favorites),
        ("POST", ["api", "favorites"]) => (Price::WRITE, personal::favor),
        ("DELETE", ["api", "favorites", _]) => (Price::WRITE, personal::unfavor),
        ("GET", ["api", "favorites", _, "check"]) => (Price::PERSONAL, personal::is_favorite),
        ("GET", ["api", "notifications"]) => (Price::PERSONAL, personal::notifications),
        ("GET", ["api", "notifications", "unread-count"]) => (Price::PERSONAL, personal::unread),
        ("GET", ["api", "subscriptions", "status"]) => (Price::PERSONAL, personal::subscription),

        ("GET", ["api", "bulk", "deals", "export"]) => (Price::EXPORT, admin::export),
        ("GET", ["api", "analytics", "summary"]) => (Price::EXPORT, admin::summary),
        ("GET", ["api", "analytics", "users", "engagement"]) => (Price::ANALYTICS, admin::engagement),

        ("GET", ["s"] | ["api", "shortener"]) => (Price::SHORT_LINK, shortener::list),
        ("POST", ["s"] | ["api", "shortener"]) => (Price::WRITE, shortener::create),
        ("GET", ["s", _] | ["api", "shortener", _]) => (Price::SHORT_LINK, shortener::follow),
        ("DELETE", ["s", _] | ["api", "shortener", _]) => (Price::WRITE, shortener::delete),
        _ => return None,
    };
    Some(found)
}

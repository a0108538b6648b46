//! The names under which answers are forgotten together: `Cache-Groups` (RFC 9875), `Surrogate-Key`, `Cache-Tag`.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, ListEntry};

use super::policy::Policy;

/// `Cache-Groups` (RFC 9875 §2).
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// Most tags of one answer, and the longest of them: beyond it they are left out.
const MOST_TAGS: usize = 64;
const LONGEST_TAG: usize = 128;

/// The tags of an answer. Those of RFC 9875 are of its origin only: the authority stands before them.
#[must_use]
pub fn tags(policy: &Policy, authority: &str, answer: &HeaderMap) -> Vec<Box<str>> {
    let mut tags: Vec<Box<str>> = strings(answer, &CACHE_GROUPS)
        .into_iter()
        .map(|group| of_origin(authority, &group).into())
        .collect();
    for name in policy.tags.iter().filter(|name| **name != CACHE_GROUPS) {
        for line in answer.get_all(name).iter().filter_map(|line| line.to_str().ok()) {
            // Fastly separates by spaces, Cloudflare by commas; neither allows the other in a tag.
            let words = line.split([' ', ',', '\t']).filter(|word| !word.is_empty());
            tags.extend(words.map(Into::into));
        }
    }
    tags.retain(|tag| tag.len() <= LONGEST_TAG);
    tags.sort();
    tags.dedup();
    tags.truncate(MOST_TAGS);
    tags
}

/// The tag of a group of one origin.
#[must_use]
pub fn of_origin(authority: &str, group: &str) -> String {
    format!("{authority} {group}")
}

/// A list of strings (RFC 9651); one that is not well formed has none.
pub(super) fn strings(fields: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines: Vec<&[u8]> = fields.get_all(name).iter().map(|line| line.as_bytes()).collect();
    let members = sfv::Parser::parse_list(&lines.join(&b", "[..])).unwrap_or_default();
    members
        .into_iter()
        .filter_map(|member| match member {
            ListEntry::Item(Item {
                bare_item: BareItem::String(text),
                ..
            }) => Some(text),
            _ => None,
        })
        .take(MOST_TAGS)
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tags_of_all_manners() {
        let mut policy = Policy::new("x");
        policy.tags = vec![
            HeaderName::from_static("surrogate-key"),
            HeaderName::from_static("cache-tag"),
        ];
        let mut answer = HeaderMap::new();
        answer.insert("cache-groups", HeaderValue::from_static("\"deals\", \"store 7\";x, 9"));
        answer.append("surrogate-key", HeaderValue::from_static("a b"));
        answer.append("cache-tag", HeaderValue::from_static("c, b"));
        answer.append("other", HeaderValue::from_static("d"));
        let found = tags(&policy, "site.test", &answer);
        let found: Vec<&str> = found.iter().map(|tag| &**tag).collect();
        assert_eq!(found, ["a", "b", "c", "site.test deals", "site.test store 7"]);
        answer.insert("cache-groups", HeaderValue::from_static("deals,&&"));
        assert_eq!(tags(&policy, "site.test", &answer).len(), 3);
    }
}

//! Encoded forms of a complete body, kept beside it: who asks for one again costs no compression.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Body;

/// The forms of one body, by the name of their coding. Takes a pointer while there are none.
#[derive(Default)]
pub(super) struct Forms(OnceLock<Box<Mutex<ByCoding>>>);

type ByCoding = Vec<(&'static str, Form)>;

enum Form {
    /// Somebody makes it.
    Making,
    Made(Arc<Body>),
}

impl Forms {
    pub(super) fn made(&self, coding: &str) -> Option<Arc<Body>> {
        let forms = self.0.get()?.lock();
        forms.iter().find_map(|(name, form)| match form {
            Form::Made(body) if *name == coding => Some(Arc::clone(body)),
            _ => None,
        })
    }

    /// Whether it is up to the caller to make this form: of all who ask, one is told so.
    pub(super) fn claim(&self, coding: &'static str) -> bool {
        let mut forms = self.0.get_or_init(Box::default).lock();
        let new = forms.iter().all(|(name, _)| *name != coding);
        if new {
            forms.push((coding, Form::Making));
        }
        new
    }

    pub(super) fn put(&self, coding: &'static str, body: Arc<Body>) {
        let mut forms = self.0.get_or_init(Box::default).lock();
        forms.retain(|(name, _)| *name != coding);
        forms.push((coding, Form::Made(body)));
    }

    /// The bytes of them that are in memory.
    pub(super) fn in_memory(&self) -> u64 {
        let Some(forms) = self.0.get() else { return 0 };
        let weight = |(_, form): &(&str, Form)| match form {
            Form::Made(body) => body.in_memory(),
            Form::Making => 0,
        };
        forms.lock().iter().map(weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn one_makes_a_form_and_all_have_it() {
        let body = Body::whole(vec![Bytes::from_static(b"hello")]);
        assert!(body.form("gzip").is_none());
        assert!(body.claim_form("gzip") && !body.claim_form("gzip") && body.claim_form("br"));
        assert!(body.form("gzip").is_none(), "it is being made");
        body.put_form("gzip", Body::whole(vec![Bytes::from_static(b"abc")]));
        assert_eq!(body.form("gzip").and_then(|form| form.length()), Some(3));
        assert!(body.form("br").is_none());
        assert_eq!(body.in_memory(), 8);
    }
}

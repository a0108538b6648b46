//! Which fields carry a trace, and which traces are recorded.

use super::trace::TraceId;

/// How fields say which trace a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `traceparent` and `tracestate` (W3C Trace Context).
    W3c,
    /// `b3`, or `X-B3-TraceId` and its kind.
    B3,
}

/// What is done about the traces of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracing {
    first: Form,
    second: Option<Form>,
    /// Which traces that begin here are recorded; `None`: that is not ours to decide, and all are marked as recorded.
    pub sampler: Option<Sampler>,
}

impl Tracing {
    /// By these fields: what a caller says in the first of them counts. None: W3C's.
    #[must_use]
    pub fn new(forms: &[Form], sampler: Option<Sampler>) -> Self {
        let first = forms.first().copied().unwrap_or(Form::W3c);
        Self::of(first, forms.iter().copied().find(|form| *form != first), sampler)
    }

    pub(super) const fn of(first: Form, second: Option<Form>, sampler: Option<Sampler>) -> Self {
        Self { first, second, sampler }
    }

    pub(super) fn forms(self) -> impl Iterator<Item = Form> {
        std::iter::once(self.first).chain(self.second)
    }

    /// Whether fields of this form are written.
    #[must_use]
    pub fn has(self, form: Form) -> bool {
        self.first == form || self.second == Some(form)
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self::new(&[], None)
    }
}

/// Decides by the id of a trace whether it is recorded: gateways with the same share decide alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Of [`RANGE`].
    below: u64,
}

/// The last 56 bits of a trace id are random, whoever made it (W3C Trace Context Level 2 §3.2.2.3).
const RANGE: u64 = 1 << 56;

impl Sampler {
    /// Takes this share of traces, 0 to 1.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self {
            below: (share.clamp(0.0, 1.0) * RANGE as f64) as u64,
        }
    }

    /// Whether this trace is recorded.
    #[must_use]
    pub fn takes(self, trace: &TraceId) -> bool {
        let digit = |byte: u8| u64::from(if byte <= b'9' { byte - b'0' } else { byte - b'a' + 10 });
        let number = trace[18..].iter().fold(0, |number, &byte| number << 4 | digit(byte));
        number < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::identity::random;

    #[test]
    fn a_share_of_traces_is_taken() {
        for (share, least, most) in [(0.0, 0, 0), (0.1, 800, 1200), (0.5, 4700, 5300), (1.0, 10_000, 10_000)] {
            let sampler = Sampler::new(share);
            let taken = (0..10_000).filter(|_| sampler.takes(&random::hex())).count();
            assert!((least..=most).contains(&taken), "{share}: {taken}");
        }
    }

    #[test]
    fn only_the_end_of_an_id_decides() {
        let half = Sampler::new(0.5);
        for (trace, taken) in [
            (b"ffffffffffffffffff7fffffffffffff", true),
            (b"00000000000000000080000000000000", false),
        ] {
            assert_eq!(half.takes(trace), taken);
        }
    }

    #[test]
    fn the_first_form_counts() {
        let forms = |forms: &[Form]| Tracing::new(forms, None).forms().collect::<Vec<_>>();
        assert_eq!(forms(&[]), [Form::W3c]);
        assert_eq!(forms(&[Form::B3]), [Form::B3]);
        assert_eq!(forms(&[Form::B3, Form::W3c]), [Form::B3, Form::W3c]);
        assert_eq!(forms(&[Form::B3, Form::B3]), [Form::B3]);
    }
}

//! The fields of a request on their way to a server: the client's own, borrowed, and what the gateway says beside them.
//!
//! A request has few fields, and each is looked for once or twice. To compare it with a handful of names costs less than a
//! hash, and to borrow it less than a copy of the map.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// More than most requests have, those of the gateway among them: they stay on the stack.
const ROOM: usize = 28;

/// Fields in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct Onward<'a> {
    fields: SmallVec<[Field<'a>; ROOM]>,
    lines: Option<Lines>,
}

/// Fields that are the same from one request to the next, as they stand in a head of HTTP/1.
#[derive(Debug, Clone)]
pub struct Lines {
    names: &'static [HeaderName],
    text: Bytes,
}

impl Lines {
    /// One value for each name; `None`: one of them is missing.
    #[must_use]
    pub fn new(names: &'static [HeaderName], values: &[Option<HeaderValue>]) -> Option<Self> {
        let mut text = Vec::with_capacity(320);
        for (name, value) in names.iter().zip(values) {
            for part in [name.as_str().as_bytes(), b": ", value.as_ref()?.as_bytes(), b"\r\n"] {
                text.extend_from_slice(part);
            }
        }
        text.shrink_to_fit();
        Some(Self {
            names,
            text: text.into(),
        })
    }

    fn fields(&self) -> impl Iterator<Item = (&HeaderName, HeaderValue)> {
        let lines = self.text.split(|&byte| byte == b'\r');
        self.names.iter().zip(lines).filter_map(|(name, line)| {
            // After the end of the line before, the name, the colon and the space.
            let value = line
                .strip_prefix(b"\n")
                .unwrap_or(line)
                .get(name.as_str().len() + 2..)?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        })
    }
}

#[derive(Debug, Clone)]
enum Field<'a> {
    Own(&'a HeaderName, &'a HeaderValue),
    Said(HeaderName, HeaderValue),
}

impl Field<'_> {
    fn name(&self) -> &HeaderName {
        match self {
            Self::Own(name, _) => name,
            Self::Said(name, _) => name,
        }
    }

    fn value(&self) -> &HeaderValue {
        match self {
            Self::Own(_, value) => value,
            Self::Said(_, value) => value,
        }
    }
}

impl<'a> Onward<'a> {
    /// The client's fields as they are.
    #[must_use]
    pub fn of(fields: &'a HeaderMap) -> Self {
        Self {
            fields: fields.iter().map(|(name, value)| Field::Own(name, value)).collect(),
            lines: None,
        }
    }

    /// Name and value of each field line, but those of [`Onward::lines`].
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> + Clone {
        self.fields.iter().map(|field| (field.name(), field.value()))
    }

    /// The lines that come after the others.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        self.lines.as_ref().map_or(&[], |lines| &lines.text)
    }

    /// Adds fields of names that are not there, and are not looked for any more; to be removed, or replaced, they may be.
    pub fn add_lines(&mut self, lines: Lines) {
        debug_assert!(lines.names.iter().all(|name| !self.contains(name)), "one is there");
        self.lines = Some(lines);
    }

    fn take_lines_apart(&mut self) {
        for (name, value) in self.lines.take().iter().flat_map(Lines::fields) {
            self.fields.push(Field::Said(name.clone(), value));
        }
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get_all(name).next()
    }

    /// Every value of that name.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.iter()
            .filter(move |(each, _)| *each == name)
            .map(|(_, value)| value)
    }

    /// Whether there is a field of that name.
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Puts `value` in the place of every field of that name.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.add(name, value);
    }

    /// Adds a field of a name that is not there.
    pub fn add(&mut self, name: HeaderName, value: HeaderValue) {
        debug_assert!(!self.contains(&name), "{name} is there");
        self.fields.push(Field::Said(name, value));
    }

    /// Removes every field of that name.
    pub fn remove(&mut self, name: &HeaderName) {
        self.retain(|each| each != name);
    }

    /// Keeps the fields whose name passes.
    pub fn retain(&mut self, mut passes: impl FnMut(&HeaderName) -> bool) {
        if let Some(lines) = &self.lines
            && !lines.names.iter().all(&mut passes)
        {
            self.take_lines_apart();
        }
        // Mostly nothing has to move.
        if let Some(first) = self.fields.iter().position(|field| !passes(field.name())) {
            let mut index = 0;
            self.fields.retain(|field| {
                index += 1;
                index <= first || passes(field.name())
            });
        }
    }

    /// The same fields in a map.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in self.iter() {
            map.append(name.clone(), value.clone());
        }
        for (name, value) in self.lines.iter().flat_map(Lines::fields) {
            map.append(name.clone(), value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, HOST};

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    const SENT: [(&str, &str); 5] = [
        ("host", "a"),
        ("cookie", "1"),
        ("x-own", "x"),
        ("cookie", "2"),
        ("accept", "*/*"),
    ];

    #[test]
    fn what_is_done_to_it_is_what_is_done_to_a_map() {
        let sent = map(&SENT);
        let (mut onward, mut wanted) = (Onward::of(&sent), sent.clone());
        assert_eq!(onward.to_map(), wanted);
        assert_eq!(onward.get_all(&COOKIE).count(), 2);
        assert_eq!(onward.get(&COOKIE), wanted.get(COOKIE));

        onward.insert(COOKIE, HeaderValue::from_static("3"));
        wanted.insert(COOKIE, HeaderValue::from_static("3"));
        assert_eq!(onward.to_map(), wanted);

        onward.remove(&HOST);
        wanted.remove(HOST);
        assert_eq!(onward.to_map(), wanted);
        assert!(!onward.contains(&HOST));

        onward.add(HOST, HeaderValue::from_static("b"));
        wanted.insert(HOST, HeaderValue::from_static("b"));
        onward.retain(|name| name != ACCEPT && name.as_str() != "x-own");
        wanted.remove(ACCEPT);
        wanted.remove("x-own");
        assert_eq!(onward.to_map(), wanted);
        assert_eq!(sent, map(&SENT));
    }

    #[test]
    fn lines_are_fields_like_others() {
        static NAMES: [HeaderName; 2] = [HeaderName::from_static("x-one"), HeaderName::from_static("x-two")];
        let values = ["1", "a: b"].map(|text| Some(HeaderValue::from_static(text)));
        let lines = Lines::new(&NAMES, &values).expect("two");
        assert!(Lines::new(&NAMES, &[values[0].clone(), None]).is_none());
        let sent = map(&SENT);
        let (mut onward, mut wanted) = (Onward::of(&sent), sent.clone());
        onward.add_lines(lines);
        wanted.extend(map(&[("x-one", "1"), ("x-two", "a: b")]));
        assert_eq!(onward.lines(), b"x-one: 1\r\nx-two: a: b\r\n");
        assert_eq!(onward.to_map(), wanted);

        onward.remove(&HOST);
        wanted.remove(HOST);
        assert!(!onward.lines().is_empty(), "they need not be taken apart");
        onward.insert(NAMES[0].clone(), HeaderValue::from_static("2"));
        wanted.insert(&NAMES[0], HeaderValue::from_static("2"));
        assert_eq!(onward.to_map(), wanted);
        assert!(onward.lines().is_empty());
    }

    #[test]
    fn many_fields_are_no_fewer() {
        let mut sent = HeaderMap::new();
        for number in 0..3 * ROOM {
            sent.append("x-many", HeaderValue::from(number));
        }
        let mut onward = Onward::of(&sent);
        assert_eq!(onward.to_map(), sent);
        onward.remove(&HeaderName::from_static("x-many"));
        assert_eq!(onward.iter().count(), 0);
    }
}

//! What would change: the tables of two files compared, with every default filled in and secrets masked.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Loaded;
use super::print::{Section, sections};

/// What takes effect with the next start only.
const FIXED: [(&str, &str); 5] = [
    ("server", "threads"),
    ("log", "format"),
    ("log", "path"),
    ("log", "error_path"),
    ("log", "rotate"),
];

/// A file as far as it can be compared: what it says, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    tables: Vec<Table>,
    /// What tells whether secrets are the same.
    secrets: u64,
    printed: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    kind: &'static str,
    name: Option<String>,
    keys: Vec<(&'static str, String)>,
}

impl Outline {
    /// Of a file without faults.
    #[must_use]
    pub fn of(loaded: &Loaded) -> Self {
        let table = |Section { kind, name, entries }| Table {
            kind,
            name,
            keys: entries.into_iter().map(|entry| (entry.key, entry.value)).collect(),
        };
        Self {
            tables: sections(&loaded.file).into_iter().map(table).collect(),
            secrets: loaded.secrets,
            printed: super::print(loaded),
        }
    }

    /// The file with every default filled in, secrets masked.
    #[must_use]
    pub fn printed(&self) -> &str {
        &self.printed
    }
}

/// What a reload would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    changes: Vec<Change>,
    /// Routes that both have stand in another order: the first of two that are equally specific takes a request.
    reordered: bool,
    secrets: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    kind: &'static str,
    name: Option<String>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Added,
    Removed,
    Changed(Vec<Key>),
}

/// A key, before and after; `None`: it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    key: &'static str,
    before: Option<String>,
    after: Option<String>,
}

impl Plan {
    /// From the file in force to the one that is to be.
    #[must_use]
    pub fn between(before: &Outline, after: &Outline) -> Self {
        let find = |tables: &[Table], table: &Table| {
            let same = |other: &&Table| other.kind == table.kind && other.name == table.name;
            tables.iter().find(same).cloned()
        };
        let mut changes = Vec::new();
        for table in &after.tables {
            let what = match find(&before.tables, table) {
                None => What::Added,
                Some(old) if old == *table => continue,
                Some(old) => What::Changed(keys(&old.keys, &table.keys)),
            };
            changes.push(Change {
                kind: table.kind,
                name: table.name.clone(),
                what,
            });
        }
        let gone = before
            .tables
            .iter()
            .filter(|table| find(&after.tables, table).is_none());
        changes.extend(gone.map(|table| Change {
            kind: table.kind,
            name: table.name.clone(),
            what: What::Removed,
        }));
        let order = |one: &Outline, other: &Outline| -> Vec<Option<String>> {
            let common = |table: &&Table| table.kind == "route" && find(&other.tables, table).is_some();
            one.tables
                .iter()
                .filter(common)
                .map(|table| table.name.clone())
                .collect()
        };
        Self {
            changes,
            reordered: order(before, after) != order(after, before),
            secrets: before.secrets != after.secrets,
        }
    }

    /// Whether both files mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.reordered && !self.secrets
    }

    /// The keys that take effect with the next start only.
    #[must_use]
    pub fn waits(&self) -> Vec<String> {
        let fixed = |change: &Change, key: &Key| FIXED.contains(&(change.kind, key.key));
        self.changes
            .iter()
            .flat_map(|change| match &change.what {
                What::Changed(keys) => keys
                    .iter()
                    .filter(|key| fixed(change, key))
                    .map(|key| format!("[{}] {}", change.kind, key.key))
                    .collect(),
                What::Added | What::Removed => Vec::new(),
            })
            .collect()
    }

    /// For people: a line for each table, below it the keys that change.
    #[must_use]
    pub fn text(&self) -> String {
        if self.is_empty() {
            return "nothing changes\n".to_owned();
        }
        let mut text = String::new();
        for Change { kind, name, what } in &self.changes {
            let table = match name {
                Some(name) => format!("{kind} {name}"),
                None => format!("[{kind}]"),
            };
            // Writing to a string does not fail.
            let _ = match what {
                What::Added => writeln!(text, "+ {table}"),
                What::Removed => writeln!(text, "- {table}"),
                What::Changed(_) => writeln!(text, "~ {table}"),
            };
            let What::Changed(keys) = what else { continue };
            for Key { key, before, after } in keys {
                let _ = match (before, after) {
                    (Some(before), Some(after)) => writeln!(text, "    {key} = {after}  (was {before})"),
                    (None, Some(after)) => writeln!(text, "    {key} = {after}  (new)"),
                    (before, None) => writeln!(text, "    {key}  (was {})", before.as_deref().unwrap_or("-")),
                };
            }
        }
        if self.reordered {
            text.push_str("~ the order of the routes\n");
        }
        if self.secrets {
            text.push_str("~ a secret\n");
        }
        for key in self.waits() {
            let _ = writeln!(text, "! {key} takes effect with a restart");
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let change = |Change { kind, name, what }: &Change| {
            let mut body = json!({ "table": kind, "name": name, "change": match what {
                What::Added => "added",
                What::Removed => "removed",
                What::Changed(_) => "changed",
            } });
            if let What::Changed(keys) = what {
                let key = |Key { key, before, after }: &Key| json!({ "key": key, "before": before, "after": after });
                body["keys"] = keys.iter().map(key).collect();
            }
            body
        };
        json!({
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "routes_reordered": self.reordered,
            "secrets_changed": self.secrets,
            "needs_restart": self.waits(),
        })
    }
}

fn keys(before: &[(&'static str, String)], after: &[(&'static str, String)]) -> Vec<Key> {
    let value = |keys: &[(&'static str, String)], key: &str| {
        keys.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value.clone())
    };
    let gone = before.iter().filter(|(key, _)| value(after, key).is_none());
    let mut changed = Vec::new();
    for (key, _) in after.iter().chain(gone) {
        let (before, after) = (value(before, key), value(after, key));
        if before != after {
            changed.push(Key { key, before, after });
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn outline(text: &str) -> Outline {
        let loaded = crate::config::parse("test.toml", text, Path::new("."), &|_| None);
        Outline::of(&loaded.unwrap_or_else(|report| panic!("{report}")))
    }

    const BASE: &str = "[server]\nthreads = 2\n[upstream.app]\nservers = [\"a:1\"]\n\
        [[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"app\"\n[[route]]\nname = \"b\"\npath = \"/b\"\nupstream = \"app\"\n";

    fn plan(text: &str) -> Plan {
        Plan::between(&outline(BASE), &outline(text))
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        assert!(plan(BASE).is_empty());
        let spelled = BASE.replace("[server]\n", "# a comment\n[server]\nmax_body = \"100MB\"\n");
        assert_eq!(plan(&spelled).text(), "nothing changes\n");
    }

    #[test]
    fn tables_and_keys_are_told_apart() {
        let text = BASE
            .replace("threads = 2", "threads = 3")
            .replace("\"a:1\"]", "\"a:1\", \"a:2\"]")
            .replace("name = \"b\"", "name = \"c\"");
        let plan = plan(&text);
        let told = plan.text();
        for line in [
            "~ [server]\n    threads = 3  (was 2)\n",
            "~ upstream app\n    servers = [\"a:1\", \"a:2\"]  (was [\"a:1\"])\n",
            "+ route c\n",
            "- route b\n",
            "! [server] threads takes effect with a restart\n",
        ] {
            assert!(told.contains(line), "{line}{told}");
        }
        assert_eq!(plan.json()["needs_restart"][0], "[server] threads");
        assert_eq!(plan.json()["changes"][0]["keys"][0]["after"], "3");
    }

    #[test]
    fn the_order_of_routes_means_something() {
        let (head, routes) = BASE.split_at(BASE.find("[[route]]").unwrap());
        let (one, other) = routes.split_at(routes.rfind("[[route]]").unwrap());
        let plan = plan(&format!("{head}{other}{one}"));
        assert_eq!(plan.text(), "~ the order of the routes\n");
    }

    #[test]
    fn a_secret_is_compared_and_not_shown() {
        let with = |secret: &str| {
            BASE.replace(
                "servers = [\"a:1\"]\n",
                &format!("servers = [\"a:1\"]\nsticky = {{ secret = \"{secret}\" }}\n"),
            )
        };
        let (one, other) = (with(&"a".repeat(32)), with(&"b".repeat(32)));
        let plan = Plan::between(&outline(&one), &outline(&other));
        assert_eq!(plan.text(), "~ a secret\n");
        assert!(!plan.json().to_string().contains("aaaa"));
    }
}

//! Categories and stores: tables that nobody changes.

/// A category.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) struct Category {
    pub(in crate::demo) name: &'static str,
    pub(in crate::demo) icon: &'static str,
    pub(in crate::demo) parent: Option<usize>,
}

/// A store.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) struct Store {
    pub(in crate::demo) name: &'static str,
    pub(in crate::demo) domain: &'static str,
}

const fn category(name: &'static str, icon: &'static str, parent: Option<usize>) -> Category {
    Category { name, icon, parent }
}

const fn store(name: &'static str, domain: &'static str) -> Store {
    Store { name, domain }
}

/// The categories; their id is the place in the list, from 1.
pub(in crate::demo) const CATEGORIES: [Category; 17] = [
    category("Electronics", "cpu", None),
    category("Home & Kitchen", "home", None),
    category("Fashion", "shirt", None),
    category("Sports & Outdoors", "bike", None),
    category("Beauty & Health", "heart", None),
    category("Toys & Games", "gamepad", None),
    category("Books", "book", None),
    category("Groceries", "basket", None),
    category("Automotive", "car", None),
    category("Garden", "leaf", None),
    category("Phones", "phone", Some(1)),
    category("Computers", "laptop", Some(1)),
    category("Audio", "headphones", Some(1)),
    category("Cookware", "pan", Some(2)),
    category("Furniture", "sofa", Some(2)),
    category("Shoes", "shoe", Some(3)),
    category("Board Games", "dice", Some(6)),
];

/// The stores; their id is the place in the list, from 1.
pub(in crate::demo) const STORES: [Store; 10] = [
    store("Northwind Market", "northwind.example"),
    store("Contoso", "contoso.example"),
    store("Fabrikam", "fabrikam.example"),
    store("Tailspin Toys", "tailspin.example"),
    store("Wingtip", "wingtip.example"),
    store("Adventure Works", "adventure.example"),
    store("Litware", "litware.example"),
    store("Proseware", "proseware.example"),
    store("Lucerne", "lucerne.example"),
    store("Blue Yonder", "blueyonder.example"),
];

/// A name as it stands in URLs.
pub(in crate::demo) fn slug(name: &str) -> String {
    let words = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for (name, expected) in [
            ("Home & Kitchen", "home-kitchen"),
            ("Books", "books"),
            ("", ""),
            ("é", ""),
        ] {
            assert_eq!(slug(name), expected);
        }
    }

    #[test]
    fn parents_exist() {
        assert!(
            CATEGORIES
                .iter()
                .filter_map(|category| category.parent)
                .all(|parent| (1..=10).contains(&parent))
        );
    }
}

//! `require`: what must be true of a subject.

use super::{ClaimName, Claims};

/// A claim, and the values of which it must have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Which claim.
    pub claim: ClaimName,
    /// One of these; `*`: any value at all.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether the subject has it. A claim that is a list has each of its elements, a scope each of its words.
    #[must_use]
    pub fn holds(&self, claims: &Claims) -> bool {
        let has = claims.texts(&self.claim.0);
        let has = || has.iter().filter(|text| !text.is_empty());
        self.values.iter().any(|value| match &**value {
            "*" => has().next().is_some(),
            value => has().any(|text| *text == value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds() {
        let claims: Claims = serde_json::from_str(
            r#"{"role": "admin", "roles": ["user", "editor", 7], "scope": "deals:read deals:write", "email_verified": true,
                "empty": "", "none": null, "realm": {"roles": ["boss"]}, "list": []}"#,
        )
        .unwrap();
        for (claim, values, expected) in [
            ("role", &["admin"][..], true),
            ("role", &["staff", "admin"], true),
            ("role", &["Admin"], false),
            ("role", &["adm"], false),
            ("roles", &["editor"], true),
            ("roles", &["7"], true),
            ("roles", &["user,editor"], false),
            ("scope", &["deals:write"], true),
            ("scope", &["deals:read deals:write"], false),
            ("scope", &["deals"], false),
            ("email_verified", &["true"], true),
            ("realm.roles", &["boss"], true),
            ("role", &["*"], true),
            ("roles", &["*"], true),
            ("empty", &["*"], false),
            ("none", &["*"], false),
            ("list", &["*"], false),
            ("absent", &["*"], false),
            ("realm", &["*"], false),
            ("role", &[], false),
        ] {
            let requirement = Requirement {
                claim: ClaimName(claim.into()),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            };
            assert_eq!(requirement.holds(&claims), expected, "{claim} {values:?}");
        }
    }
}

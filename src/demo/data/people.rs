//! Users, their favourites, and what is generated for each of them.

use std::collections::HashMap;

use serde::Serialize;

use super::{ADMIN, DAY, USER, date, seconds_now};

const GENERATED: u32 = 60;
/// Anybody may add users, so somebody will.
const MAX_USERS: usize = 1_000;
const MAX_TEXT: usize = 128;
/// Favourites that a generated user has.
const FAVORITES: u32 = 24;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::demo) enum Role {
    User,
    Admin,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::demo) struct User {
    pub(in crate::demo) id: u32,
    pub(in crate::demo) firebase_uid: String,
    pub(in crate::demo) email: String,
    pub(in crate::demo) display_name: String,
    pub(in crate::demo) role: Role,
    created_at: String,
    updated_at: String,
}

/// The tables of users and favourites.
#[derive(Debug)]
pub(in crate::demo) struct People {
    users: Vec<User>,
    favorites: HashMap<u32, Vec<u32>>,
}

impl People {
    pub(super) fn generate(random: &mut fastrand::Rng, midnight: i64) -> Self {
        let mut people = Self {
            users: Vec::new(),
            favorites: HashMap::new(),
        };
        for id in 1..=GENERATED {
            let created = date(midnight - i64::from(id) * DAY);
            people.users.push(User {
                id,
                firebase_uid: match id {
                    1 => ADMIN.to_owned(),
                    2 => USER.to_owned(),
                    _ => format!("fbUser{id:022}"),
                },
                email: format!("user{id:02}@example.org"),
                display_name: format!("User {id:02}"),
                role: if id == 1 { Role::Admin } else { Role::User },
                created_at: created.clone(),
                updated_at: created,
            });
            let first = random.u32(1..400);
            people.favorites.insert(id, (first..first + FAVORITES).collect());
        }
        people
    }

    /// Who has this uid.
    pub(in crate::demo) fn find(&self, uid: &str) -> Option<&User> {
        self.users.iter().find(|user| user.firebase_uid == uid)
    }

    /// Everybody.
    pub(in crate::demo) fn all(&self) -> &[User] {
        &self.users
    }

    /// Adds a user, or finds the one who is there: the second value tells whether one was added. `None`: no room left.
    pub(in crate::demo) fn add(&mut self, uid: &str, email: &str, name: &str) -> Option<(User, bool)> {
        if let Some(user) = self.find(uid) {
            return Some((user.clone(), false));
        }
        if self.users.len() >= MAX_USERS {
            return None;
        }
        let cut = |text: &str| text.chars().take(MAX_TEXT).collect();
        let now = date(seconds_now());
        let user = User {
            id: u32::try_from(self.users.len() + 1).ok()?,
            firebase_uid: cut(uid),
            email: cut(email),
            display_name: cut(name),
            role: Role::User,
            created_at: now.clone(),
            updated_at: now,
        };
        self.users.push(user.clone());
        Some((user, true))
    }

    /// The numbers of somebody's favourite deals, the latest first.
    pub(in crate::demo) fn favorites(&self, user: u32) -> &[u32] {
        self.favorites.get(&user).map_or(&[], Vec::as_slice)
    }

    /// Adds a favourite; whether it was none yet.
    pub(in crate::demo) fn favor(&mut self, user: u32, deal: u32) -> bool {
        let favorites = self.favorites.entry(user).or_default();
        let new = !favorites.contains(&deal);
        if new {
            favorites.insert(0, deal);
        }
        new
    }

    /// Removes a favourite; whether it was one.
    pub(in crate::demo) fn unfavor(&mut self, user: u32, deal: u32) -> bool {
        let favorites = self.favorites.entry(user).or_default();
        let before = favorites.len();
        favorites.retain(|favorite| *favorite != deal);
        favorites.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        People::generate(&mut fastrand::Rng::with_seed(1), 1_766_016_000)
    }

    #[test]
    fn knows_one_administrator() {
        let people = people();
        assert_eq!(people.all().len(), 60);
        assert_eq!(people.find(ADMIN).map(|user| user.role), Some(Role::Admin));
        assert_eq!(people.find(USER).map(|user| user.role), Some(Role::User));
        assert_eq!(people.all().iter().filter(|user| user.role == Role::Admin).count(), 1);
        assert!(people.all().iter().all(|user| user.firebase_uid.len() == 28));
    }

    #[test]
    fn adds_users_up_to_a_bound() {
        let mut people = people();
        assert!(
            people
                .add("new", "a@example.org", "A")
                .is_some_and(|(user, new)| new && user.id == 61)
        );
        assert!(
            people
                .add("new", "b@example.org", "B")
                .is_some_and(|(user, new)| !new && user.email == "a@example.org")
        );
        let mut i = 0;
        while people.add(&format!("uid {i}"), "", "").is_some() {
            i += 1;
        }
        assert_eq!(people.all().len(), MAX_USERS);
    }

    #[test]
    fn favourites() {
        let mut people = people();
        assert_eq!(people.favorites(2).len(), 24);
        assert!(people.favor(2, 500));
        assert!(!people.favor(2, 500));
        assert_eq!(people.favorites(2)[0], 500);
        assert!(people.unfavor(2, 500));
        assert!(!people.unfavor(2, 500));
        assert!(people.favorites(99).is_empty());
    }
}

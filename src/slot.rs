//! A place for what a layer above makes of something here, once, so that it need not be made again for each request.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// Holds one value of a type that this layer does not know.
#[derive(Default)]
pub struct Slot(OnceLock<Box<dyn Any + Send + Sync>>);

impl Slot {
    /// The value; the first call makes it. `None`: another layer made one of another type, which is a mistake.
    pub fn filled<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_filled_once() {
        let slot = Slot::default();
        assert_eq!(slot.filled(|| 1_u8), Some(&1));
        assert_eq!(slot.filled(|| 2_u8), Some(&1));
        assert_eq!(slot.filled(|| "another type"), None);
    }
}

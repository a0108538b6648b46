//! Simulations under virtual time: what the strategies do to whole systems.

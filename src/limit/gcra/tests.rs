//! The bound, nginx, and clocks that jump.

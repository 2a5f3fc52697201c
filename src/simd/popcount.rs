//! How bits are counted: which instruction a SIMD level uses for it.

use super::Level;

/// A way of counting the bits that two vectors share: a SIMD level, and whether AVX-512's own bit count may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Popcount {
    level: Level,
    instruction: bool,
}

impl Popcount {
    /// The fastest way at a level.
    ///
    /// # Panics
    /// If this processor does not have the level.
    pub fn at(level: Level) -> Self {
        assert!(level.is_available(), "SIMD level {level} is not available on this processor");
        Self { level, instruction: false }
    }

    /// The fastest way at [`Level::current`].
    pub fn current() -> Self {
        Self::at(Level::current())
    }

    /// Every way this processor has.
    pub fn available() -> Vec<Self> {
        Level::available().into_iter().map(Self::at).collect()
    }

    /// The level.
    pub fn level(self) -> Level {
        self.level
    }

    /// The name: that of the level, with `-vpopcntdq` where AVX-512's bit count is used.
    pub fn name(self) -> &'static str {
        self.level.name()
    }
}

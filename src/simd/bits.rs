//! Transposing a square of bits, which turns masks over samples into masks over neurons.

/// Transposes the 64 x 64 bit matrix whose row `i` is `rows[i]` (bit `j` of a row is column `j`).
///
/// Six rounds: squares of 32, 16, ... 1 bits beside the diagonal change places, 64 words at a time.
#[inline(always)]
pub fn transpose_bits_64(rows: &mut [u64; 64]) {
    let mut width = 32;
    let mut low = 0x0000_0000_ffff_ffff_u64;
    while width > 0 {
        let mut base = 0;
        while base < 64 {
            for i in base..base + width {
                let swap = (rows[i] >> width ^ rows[i + width]) & low;
                rows[i] ^= swap << width;
                rows[i + width] ^= swap;
            }
            base += 2 * width;
        }
        width /= 2;
        low ^= low << width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Lanes, Level};

    struct Transpose([u64; 64]);

    impl Kernel for Transpose {
        type Output = [u64; 64];

        #[inline(always)]
        fn run<S: Lanes>(mut self, s: S) -> [u64; 64] {
            s.transpose_bits(&mut self.0);
            self.0
        }
    }

    #[test]
    fn every_bit_lands_at_its_mirror() {
        let mut state = 1u64;
        let original: [u64; 64] = std::array::from_fn(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state
        });
        let mut t = original;
        transpose_bits_64(&mut t);
        for level in Level::available() {
            assert_eq!(level.run(Transpose(original)), t, "{level}");
        }
        for (i, row) in original.iter().enumerate() {
            for (j, column) in t.iter().enumerate() {
                assert_eq!(row >> j & 1, column >> i & 1, "bit {i}, {j}");
            }
        }
    }
}

//! Random bytes of the system, by AWS-LC's generator (seeded by the kernel and the CPU).

use crate::domain::clock::Entropy;

/// The system's random numbers, fit for keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // There is nothing safe to go on with: every key, link and id made from here on could be guessed.
            std::process::abort();
        }
    }
}

//! What devices there are, and why one cannot be used.

use super::cuda;
use super::nvrtc::Nvrtc;

/// A graphics processor that was found, or why none was looked for further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number in `cuda:N`; none where no processor could be looked at.
    pub number: Option<usize>,
    /// What the hardware calls itself.
    pub name: String,
    /// Bytes of its memory.
    pub memory: usize,
    /// Its compute capability: what instructions it has.
    pub capability: (u32, u32),
    /// The newest CUDA version that its driver can do.
    pub driver: (u32, u32),
    /// Whether NVIDIA's library for products, cuBLASLt, was found; kernels of our own compute them otherwise, more slowly.
    pub library: bool,
    /// Why it cannot be used, and what to do about it.
    pub problem: Option<String>,
}

/// Every NVIDIA GPU of this machine; one entry without a number where there is none, which says why.
pub fn list() -> Vec<Found> {
    let mut found = match cuda::find() {
        Ok(found) => found,
        Err(problem) => {
            return vec![Found {
                number: None,
                name: "NVIDIA GPU".to_owned(),
                memory: 0,
                capability: (0, 0),
                driver: (0, 0),
                library: false,
                problem: Some(problem),
            }];
        }
    };
    if let Err(problem) = Nvrtc::get() {
        for found in found.iter_mut().filter(|found| found.problem.is_none()) {
            found.problem = Some(problem.to_string());
        }
    }
    found
}

/// The version of NCCL, which sums between GPUs.
///
/// # Errors
/// Why there is none, and what to do about it.
pub fn nccl_version() -> Result<String, String> {
    cuda::nccl_version()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_there_or_what_is_missing() {
        let found = list();
        assert!(!found.is_empty());
        for found in found {
            match found.number {
                Some(_) => assert!(found.memory > 0 && found.capability > (0, 0), "{found:?}"),
                None => assert!(
                    found
                        .problem
                        .is_some_and(|problem| problem.contains("driver"))
                ),
            }
        }
    }
}

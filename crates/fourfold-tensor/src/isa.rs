//! Instruction sets, found at run time: one binary runs everywhere and uses what the machine has.

use std::sync::OnceLock;

use crate::{Result, TensorError};

/// The instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the target's baseline is.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL).
    Avx512,
    /// AVX-512 with 16-bit brain-float dot products.
    Avx512Bf16,
    /// The same with tile registers for 16-bit brain-float products (AMX).
    Amx,
}

impl Isa {
    /// The best set of this machine, or the lower one that the environment variable `FOURFOLD_ISA`
    /// (`portable`, `avx2`, `avx512`, `avx512bf16`, `amx`) asks for. Kernels cannot refuse any other value: a program
    /// calls [`Isa::check_environment`] when it starts.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let best = Self::best();
            let asked = std::env::var("FOURFOLD_ISA")
                .ok()
                .and_then(|name| Self::from_name(&name));
            asked.map_or(best, |asked| asked.min(best))
        })
    }

    /// The best set of this machine, whatever is asked for.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(Self::detect)
    }

    /// Refuses a value of `FOURFOLD_ISA` that names no instruction set.
    ///
    /// # Errors
    /// Gives the value and those that are known.
    pub fn check_environment() -> Result<()> {
        let Some(value) = std::env::var_os("FOURFOLD_ISA") else {
            return Ok(());
        };
        match value.to_str().and_then(Self::from_name) {
            Some(_) => Ok(()),
            None => Err(TensorError::Isa {
                value: value.to_string_lossy().into_owned(),
            }),
        }
    }

    /// The set called `name` in `FOURFOLD_ISA`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "portable" => Some(Self::Portable),
            "avx2" => Some(Self::Avx2),
            "avx512" => Some(Self::Avx512),
            "avx512bf16" => Some(Self::Avx512Bf16),
            "amx" => Some(Self::Amx),
            _ => None,
        }
    }

    /// Its name in `FOURFOLD_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }

    /// Whether 16-bit products have their own instructions.
    pub fn has_bf16(self) -> bool {
        self >= Self::Avx512Bf16
    }

    /// Whether 16-bit dot products outrun f32 multiply-adds, so that large products had better use them.
    ///
    /// AMD's cores start as many of one as of the other, and a dot product is worth two multiply-adds. Intel's take
    /// four times as long for it (Sapphire Rapids, measured: 108 against 220 GFLOP/s a core). Asking for
    /// `avx512bf16` by name settles it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_fast_dots() -> bool {
        static FAST: OnceLock<bool> = OnceLock::new();
        *FAST.get_or_init(|| {
            let asked = std::env::var("FOURFOLD_ISA").is_ok_and(|name| name == "avx512bf16");
            Self::current().has_bf16() && (asked || !is_intel())
        })
    }

    /// The kernels in use, for what has to tell results of one kind from those of another: their sums may differ in the
    /// last bits.
    pub fn kernels() -> String {
        #[cfg(target_arch = "x86_64")]
        let dots = if Self::has_fast_dots() { " dots" } else { "" };
        #[cfg(not(target_arch = "x86_64"))]
        let dots = "";
        format!(
            "{} {}{dots}",
            std::env::consts::ARCH,
            Self::current().name()
        )
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let avx512_bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
        if avx512_bf16 && amx_is_usable() {
            Self::Amx
        } else if avx512_bf16 {
            Self::Avx512Bf16
        } else if avx512 {
            Self::Avx512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Self::Avx2
        } else {
            Self::Portable
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Self {
        Self::Portable
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, unused_unsafe)]
fn is_intel() -> bool {
    // SAFETY: every x86-64 processor has this instruction; older compilers ask for the block nonetheless.
    let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
    let bytes = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    bytes.as_flattened() == b"GenuineIntel"
}

/// Whether the processor has tile registers with 16-bit products and the system lets this process have them: their
/// 8 KiB of state are given only to those who ask.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code, unused_unsafe)]
fn amx_is_usable() -> bool {
    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: every processor with AVX-512 has leaf 7.
    let leaf = unsafe { std::arch::x86_64::__cpuid_count(7, 0) };
    // SAFETY: the call takes two numbers and touches no memory of ours.
    leaf.edx & BF16_AND_TILES == BF16_AND_TILES
        && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn amx_is_usable() -> bool {
    false
}

/// Defines a function whose body is compiled once for each instruction set and chosen at run time.
///
/// The body is ordinary safe Rust that the compiler turns into vector code. `FMA` is a constant in the
/// body: [`fma`] multiplies and adds in one instruction where that is set, in two elsewhere.
///
/// Calling a function compiled for instructions that the caller is not compiled for is unsafe, and there is no other way
/// to choose at run time. That is why there is unsafe code here and not only among the kernels; the bodies that are given
/// to this macro stay outside of it, and so safe.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$generic:ident : $bound:path>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$generic: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
            fn body<const FMA: bool $(, $generic: $bound)?>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                fn avx512 $(<$generic: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                    body::<true $(, $generic)?>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2 $(<$generic: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                    body::<true $(, $generic)?>($($arg),*)
                }
                let isa = $crate::isa::Isa::current();
                if isa >= $crate::isa::Isa::Avx512 {
                    // SAFETY: `Isa::current` found these instruction sets on this machine.
                    #[allow(unsafe_code)]
                    return unsafe { avx512 $(::<$generic>)? ($($arg),*) };
                }
                if isa == $crate::isa::Isa::Avx2 {
                    // SAFETY: as above.
                    #[allow(unsafe_code)]
                    return unsafe { avx2 $(::<$generic>)? ($($arg),*) };
                }
            }
            body::<false $(, $generic)?>($($arg),*)
        }
    };
}
pub(crate) use multiversion;

/// `a * b + c`, fused where `FMA` says that the instruction exists.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The other tests run with the best set. This one runs them all once more for each lesser set, chosen by
    /// `FOURFOLD_ISA` as users do.
    #[test]
    fn all_tests_pass_on_every_instruction_set() {
        if std::env::var_os("FOURFOLD_ISA").is_some() {
            return;
        }
        let tests = std::env::current_exe().expect("the file that runs");
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16] {
            if isa >= Isa::current() {
                continue;
            }
            let run = Command::new(&tests)
                .env("FOURFOLD_ISA", isa.name())
                .output()
                .expect("the tests start");
            assert!(
                run.status.success(),
                "with FOURFOLD_ISA={}: {}\n{}{}",
                isa.name(),
                run.status,
                String::from_utf8_lossy(&run.stdout),
                String::from_utf8_lossy(&run.stderr)
            );
        }
    }
}

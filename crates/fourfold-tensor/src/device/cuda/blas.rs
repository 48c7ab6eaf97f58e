//! Matrix products by cuBLASLt, NVIDIA's library, where it is there.
//!
//! It reads matrices column after column. What lies row after row is to it the transposed matrix, so that it is asked for
//! `outᵀ = bᵀ · aᵀ`. Which of its kernels computes a product is asked once a shape. Kernels that add parts of a sum in
//! the order in which they finish are left out: the same numbers give the same bits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::path::PathBuf;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasLtMatmulDescAttributes_t as Attribute,
    cublasLtMatmulPreferenceAttributes_t as Preference, cudaDataType_t as Type,
};
use cudarc::driver;
use libloading::Library;

use super::super::driver::Address;
use super::super::products::{Epilogue, Operand, Product, Sum};
use crate::Precision;

/// An environment variable with the library, or the folder that has it, where the loader does not know it.
const VARIABLE: &str = "FOURFOLD_CUBLASLT";

/// Memory that its kernels may use on the side; what NVIDIA recommends for the newest GPUs.
const WORKSPACE: usize = 32 << 20;

/// Plans that are kept: batches of many lengths would make ever more.
const PLANS: usize = 4096;

/// Epilogues read and write numbers in groups of so many, on borders of so many bytes.
const EPILOGUE_GROUP: usize = 8;
const EPILOGUE_BORDER: Address = 16;

/// Parts of a sum are added from the side memory, in order, and nowhere else.
const REDUCTIONS: u32 =
    sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;

pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    stream: driver::sys::CUstream,
    workspace: driver::sys::CUdeviceptr,
    plans: HashMap<Shape, Option<Plan>>,
}

/// What a plan depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    extents: [usize; 3],
    transposed: [bool; 2],
    precision: u8,
    out_precision: u8,
    tf32: bool,
    epilogue: u32,
    adds: bool,
    /// The largest powers of two up to 16 that the addresses of `a`, `b`, `out` and what is added are multiples of.
    alignments: [u32; 4],
}

/// How a product is computed.
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    left: sys::cublasLtMatrixLayout_t,
    right: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Blas {
    /// Whether the library was found, in the place that is asked for or where the loader looks.
    pub(super) fn is_there() -> bool {
        if let Some(asked) = std::env::var_os(VARIABLE) {
            let asked = PathBuf::from(asked);
            let file = match asked.is_dir() {
                true => asked.join("libcublasLt.so.12"),
                false => asked,
            };
            // SAFETY: the file is NVIDIA's library by its name. Once loaded it is found by that name from anywhere, and
            // it stays loaded.
            if let Ok(library) = unsafe { Library::new(file) } {
                std::mem::forget(library);
            }
        }
        // SAFETY: loading the library runs nothing but its own start.
        unsafe { sys::is_culib_present() }
    }

    /// The library for work on `stream`, whose context is current; nothing where it is missing or does not start.
    pub(super) fn find(stream: driver::sys::CUstream) -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        // SAFETY: the library is there; the stream is of the current context.
        unsafe {
            Some(Self {
                handle: result::create_handle().ok()?,
                stream,
                workspace: driver::result::malloc_sync(WORKSPACE).ok()?,
                plans: HashMap::new(),
            })
        }
    }

    /// Computes `product`; false where the library has no kernel for it.
    pub(super) fn run(
        &mut self,
        product: &Product,
        rounded_bias: Option<Address>,
    ) -> Result<bool, String> {
        let before = product.epilogue.before();
        let fits = |before| {
            let [_, _, n] = product.extents();
            before % EPILOGUE_BORDER == 0 && n % EPILOGUE_GROUP == 0
        };
        if !before.is_none_or(fits) {
            return Ok(false);
        }
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        let shape = Shape::of(product);
        let (handle, bias) = (self.handle, rounded_bias.or(product.bias));
        let plan = match self.plans.entry(shape) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(Plan::new(handle, product, &shape, bias).ok()),
        };
        let Some(plan) = plan else {
            return Ok(false);
        };
        let (alpha, beta) = (1.0f32, if shape.adds { 1.0f32 } else { 0.0 });
        let added = match product.sum {
            Sum::Nothing | Sum::Result => product.out,
            Sum::Other(address) => address,
        };
        // SAFETY: the plan was made for this shape; addresses are of buffers that hold such matrices, which the trait
        // demands; the bias and what an epilogue reads or writes are set anew for every product.
        let done = unsafe {
            set_addresses(plan.description, bias, before).and_then(|()| {
                result::matmul(
                    self.handle,
                    plan.description,
                    (&raw const alpha).cast(),
                    (&raw const beta).cast(),
                    product.b.address as *const c_void,
                    plan.left,
                    product.a.address as *const c_void,
                    plan.right,
                    added as *const c_void,
                    plan.out,
                    product.out as *mut c_void,
                    plan.out,
                    &plan.algorithm,
                    self.workspace as *mut c_void,
                    WORKSPACE,
                    self.stream.cast(),
                )
            })
        };
        match done {
            Ok(()) => Ok(true),
            // What it proposed does not do after all.
            Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => {
                self.plans.insert(shape, None);
                Ok(false)
            }
            Err(error) => Err(format!("{:?} for {:?}", error.0, shape.extents)),
        }
    }
}

impl Shape {
    fn of(product: &Product) -> Self {
        let alignment = |address: Address| 1 << address.trailing_zeros().min(4);
        let added = match product.sum {
            Sum::Nothing | Sum::Result => product.out,
            Sum::Other(address) => address,
        };
        Self {
            extents: product.extents(),
            transposed: [product.a.transposed, product.b.transposed],
            precision: product.precision as u8,
            out_precision: product.out_precision as u8,
            tf32: product.tf32 && product.precision == Precision::F32,
            epilogue: epilogue(product) as u32,
            adds: product.sum != Sum::Nothing,
            alignments: [product.a.address, product.b.address, product.out, added].map(alignment),
        }
    }
}

impl Plan {
    fn new(
        handle: sys::cublasLtHandle_t,
        product: &Product,
        shape: &Shape,
        bias: Option<Address>,
    ) -> Result<Self, CublasError> {
        let [m, _, n] = product.extents();
        let compute = match shape.tf32 {
            true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let description = result::create_matmul_desc(compute, Type::CUDA_R_32F)?;
        let (kind, out_kind) = (
            data_type(product.precision),
            data_type(product.out_precision),
        );
        let out = result::create_matrix_layout(out_kind, n as u64, m as u64, n as i64)?;
        let (left, right) = (layout(product.b, kind)?, layout(product.a, kind)?);
        let preference = result::create_matmul_pref()?;
        // SAFETY: description, layouts and preference were made above, and each value has the type of its attribute;
        // bias and epilogue are those of such a product.
        let algorithm = unsafe {
            let set = |which, value: u32| {
                result::set_matmul_desc_attribute(
                    description,
                    which,
                    (&raw const value).cast(),
                    size_of::<u32>(),
                )
            };
            // `cublasOperation_t`: 0 for as it lies, 1 for transposed.
            let [a, b] = shape.transposed.map(u32::from);
            set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, b)?;
            set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, a)?;
            set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, shape.epilogue)?;
            if product.epilogue.before().is_some() {
                let between_rows = n as i64;
                result::set_matmul_desc_attribute(
                    description,
                    Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                    (&raw const between_rows).cast(),
                    size_of::<i64>(),
                )?;
            }
            set_addresses(description, bias, product.epilogue.before())?;
            let prefer = |which, value: *const c_void, bytes| {
                result::set_matmul_pref_attribute(preference, which, value, bytes)
            };
            let workspace = WORKSPACE as u64;
            prefer(
                Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace).cast(),
                size_of::<u64>(),
            )?;
            let [a, b, out_alignment, added] = shape.alignments;
            for (which, value) in [
                (
                    Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    REDUCTIONS,
                ),
                (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b),
                (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a),
                (
                    Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                    added,
                ),
                (
                    Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                    out_alignment,
                ),
            ] {
                prefer(which, (&raw const value).cast(), size_of::<u32>())?;
            }
            let found = result::get_matmul_algo_heuristic(
                handle,
                description,
                left,
                right,
                out,
                out,
                preference,
            );
            result::destroy_matmul_pref(preference)?;
            found?.algo
        };
        Ok(Self {
            description,
            left,
            right,
            out,
            algorithm,
        })
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: the plan made them, and nothing asked for with them needs them any longer than the call that asked.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in [self.left, self.right, self.out] {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

/// What the library calls the epilogue of `product`, its bias included.
fn epilogue(product: &Product) -> sys::cublasLtEpilogue_t {
    use sys::cublasLtEpilogue_t as Name;
    match (product.epilogue, product.bias.is_some()) {
        (Epilogue::Nothing, false) => Name::CUBLASLT_EPILOGUE_DEFAULT,
        (Epilogue::Nothing, true) => Name::CUBLASLT_EPILOGUE_BIAS,
        (Epilogue::Gelu { before: None }, false) => Name::CUBLASLT_EPILOGUE_GELU,
        (Epilogue::Gelu { before: None }, true) => Name::CUBLASLT_EPILOGUE_GELU_BIAS,
        (Epilogue::Gelu { before: Some(_) }, false) => Name::CUBLASLT_EPILOGUE_GELU_AUX,
        (Epilogue::Gelu { before: Some(_) }, true) => Name::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
        // Nobody adds a bias to a gradient.
        (Epilogue::GeluGradient { .. }, _) => Name::CUBLASLT_EPILOGUE_DGELU,
    }
}

/// # Safety
/// `bias`, if it is given, is the address of as many numbers as the result that `description` is of has columns, and
/// `before` of as many as it has.
unsafe fn set_addresses(
    description: sys::cublasLtMatmulDesc_t,
    bias: Option<Address>,
    before: Option<Address>,
) -> Result<(), CublasError> {
    let addresses = [
        (Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias),
        (Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, before),
    ];
    for (which, address) in addresses {
        if let Some(address) = address {
            // SAFETY: the attributes are addresses; that they are of such numbers is what this function demands.
            unsafe {
                result::set_matmul_desc_attribute(
                    description,
                    which,
                    (&raw const address).cast(),
                    size_of::<Address>(),
                )?;
            }
        }
    }
    Ok(())
}

/// The matrix as it lies, read column after column.
fn layout(operand: Operand, kind: Type) -> Result<sys::cublasLtMatrixLayout_t, CublasError> {
    let (rows, columns) = match operand.transposed {
        true => (operand.columns, operand.rows),
        false => (operand.rows, operand.columns),
    };
    result::create_matrix_layout(kind, columns as u64, rows as u64, columns as i64)
}

fn data_type(precision: Precision) -> Type {
    match precision {
        Precision::F32 => Type::CUDA_R_32F,
        Precision::Bf16 => Type::CUDA_R_16BF,
        Precision::F16 => Type::CUDA_R_16F,
    }
}

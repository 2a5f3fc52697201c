//! Fitted models as safetensors files: the weights as tensors that other tools open, the settings as JSON in the header.
//!
//! Tensors: for each network `i` its weights `w.i` (m x D, f32) and signs `a.i` (m x d, +-1 as i8), row-major; the preconditioner's
//! `means`, `variances` and `scales`, and the mixture's parts `mixture.*` (f32); `contrasts.quantiles` (numbers x knots, f64; empty
//! without contrasts); `calibration` (numbers x quantiles, f64) where there is one; and for each numerical column `i` of the table its
//! distinct values `codec.levels.i` (f64) with their frequencies `codec.counts.i` (u32). The header's only entry, `ntk_score`, is a
//! JSON object.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::fit::{FittedTable, Record};
use crate::kernels::Panels;
use crate::model::contrasts::{Contrast, Contrasts};
use crate::model::layout::Layout;
use crate::model::mixture::Mixture;
use crate::model::preconditioner::{Base, Preconditioner, PreconditionerParts};
use crate::model::score_model::ScoreModel;
use crate::network::Network;
use crate::table::Relations;
use crate::table::calibration::Calibration;
use crate::table::codec::{Codec, CodecParts};
use crate::table::schema::Schema;
use crate::{Error, Result};

/// Version of the layout of the file; files of another version are refused.
const VERSION: u32 = 3;
const KEY: &str = "ntk_score";

/// What the file says beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    schema: Schema,
    relations: Relations,
    /// For each one-hot block how often each level occurs.
    level_counts: Vec<Vec<u32>>,
    /// For each numerical column of whole numbers that doubles do not hold, its distinct values.
    exact_levels: Vec<Option<Vec<i128>>>,
    /// `["log_snr", start, end]`, `["linear", g(0), g(1)]` or `["constant", g, 0]`.
    schedule: (String, f64, f64),
    /// First and last time.
    times: [f64; 2],
    /// "zero", "gaussian" or "mixture".
    base: String,
    numerical: usize,
    blocks: Vec<usize>,
    radius: f64,
    /// Signed sums of numbers among the networks' inputs.
    contrasts: Vec<Contrast>,
    /// How many networks there are.
    networks: usize,
    record: Record,
}

/// The model as the bytes of a safetensors file; equal models give equal bytes.
///
/// # Errors
/// [`Error::Model`] if the model uses something that the format cannot say.
pub fn to_bytes(fitted: &FittedTable) -> Result<Vec<u8>> {
    let FittedTable { relations, codec, model, calibration, record } = fitted;
    let codec = codec.to_parts();
    let process = model.process();
    let schedule = match process.schedule() {
        Schedule::LogSnr { start, end } => ("log_snr".to_owned(), start, end),
        Schedule::Linear { start, end } => ("linear".to_owned(), start, end),
        Schedule::Constant { g } => ("constant".to_owned(), g, 0.0),
    };
    let parts = model.preconditioner().to_parts();
    let header = Header {
        version: VERSION,
        schema: codec.schema,
        relations: relations.clone(),
        level_counts: codec.level_counts,
        exact_levels: codec.exact,
        schedule,
        times: [process.start(), process.end()],
        base: parts.base.name().into(),
        numerical: parts.layout.numerical,
        blocks: parts.layout.blocks.clone(),
        radius: parts.radius,
        contrasts: parts.contrasts.sums.clone(),
        networks: model.stages().len(),
        record: record.clone(),
    };
    let header =
        serde_json::to_string(&header).map_err(|e| Error::Model(format!("the model cannot be stored: {e}")))?;
    let mut tensors = Vec::new();
    for (i, network) in model.stages().iter().enumerate() {
        tensors.push((format!("w.{i}"), Tensor::matrix(network.w(), Dtype::F32, |x| x.to_le_bytes())));
        tensors.push((format!("a.{i}"), Tensor::matrix(network.a(), Dtype::I8, |x| [x as i8 as u8])));
    }
    let mut vectors = vec![("means", &parts.means), ("variances", &parts.variances), ("scales", &parts.scales)];
    if let Some(mixture) = &parts.mixture {
        vectors.extend([
            ("mixture.log_weights", &mixture.log_weights),
            ("mixture.means", &mixture.means),
            ("mixture.axes", &mixture.axes),
            ("mixture.variances", &mixture.variances),
            ("mixture.levels", &mixture.levels),
        ]);
    }
    for (name, values) in vectors {
        tensors.push((name.to_owned(), Tensor::vector(values, Dtype::F32, |x| x.to_le_bytes())));
    }
    let quantiles = &parts.contrasts.quantiles;
    tensors.push(("contrasts.quantiles".into(), Tensor::vector(quantiles, Dtype::F64, |x| x.to_le_bytes())));
    if let Some(calibration) = calibration {
        let values: Vec<f64> = calibration.quantiles().iter().flatten().copied().collect();
        let shape = vec![calibration.quantiles().len(), Calibration::QUANTILES];
        tensors.push((
            "calibration".to_owned(),
            Tensor { shape, ..Tensor::vector(&values, Dtype::F64, |x| x.to_le_bytes()) },
        ));
    }
    for (i, (levels, counts)) in codec.levels.iter().zip(&codec.counts).enumerate() {
        tensors.push((format!("codec.levels.{i}"), Tensor::vector(levels, Dtype::F64, |x| x.to_le_bytes())));
        tensors.push((format!("codec.counts.{i}"), Tensor::vector(counts, Dtype::U32, |x| x.to_le_bytes())));
    }
    // One entry only: the order of several would change from run to run.
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|e| Error::Model(format!("the model cannot be stored: {e}")))
}

/// A model from the bytes of its file.
///
/// # Errors
/// [`Error::Model`] if the bytes are no model of this version, are cut off, or do not fit together.
pub fn from_bytes(bytes: &[u8]) -> Result<FittedTable> {
    let broken = |what: String| Error::Model(format!("the model file cannot be used: {what}; fit the model again"));
    let file =
        SafeTensors::deserialize(bytes).map_err(|_| broken("it is cut off, or it is not a safetensors file".into()))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| broken(e.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
    let header = header.ok_or_else(|| broken("it was not written by ntk-score".into()))?;
    let version = serde_json::from_str::<Version>(header).map_err(|_| broken("its header has no version".into()))?;
    if version.version != VERSION {
        let Version { version } = version;
        return Err(broken(format!("it is of version {version}, and this program reads version {VERSION}")));
    }
    let header: Header = serde_json::from_str(header).map_err(|e| broken(format!("its header does not read: {e}")))?;
    let schedule = match &header.schedule {
        (name, start, end) if name == "log_snr" => Schedule::LogSnr { start: *start, end: *end },
        (name, start, end) if name == "linear" => Schedule::Linear { start: *start, end: *end },
        (name, g, _) if name == "constant" => Schedule::Constant { g: *g },
        (name, ..) => return Err(broken(format!("its schedule '{name}' is unknown"))),
    };
    let base = Base::of_name(&header.base);
    let base = base.ok_or_else(|| broken(format!("its base denoiser '{}' is unknown", header.base)))?;
    let numbers = |name: &str| -> Result<Vec<f32>> { read(&file, name, Dtype::F32, f32::from_le_bytes) };
    let [start, end] = header.times;
    let process = ForwardProcess::new(schedule, start, end)?;
    let columns = header.schema.numerical();
    let levels = (0..columns).map(|i| read(&file, &format!("codec.levels.{i}"), Dtype::F64, f64::from_le_bytes));
    let counts = (0..columns).map(|i| read(&file, &format!("codec.counts.{i}"), Dtype::U32, u32::from_le_bytes));
    let codec = Codec::from_parts(CodecParts {
        levels: levels.collect::<Result<_>>()?,
        counts: counts.collect::<Result<_>>()?,
        exact: header.exact_levels,
        schema: header.schema,
        level_counts: header.level_counts,
    })?;
    // The columns of the model are those of the table; bases without links take all of them as numbers.
    let expected = match base {
        Base::Mixture => Layout { numerical: codec.numerical(), blocks: codec.blocks().to_vec() },
        Base::Zero | Base::Gaussian => Layout { numerical: codec.width(), blocks: Vec::new() },
    };
    let layout = Layout { numerical: header.numerical, blocks: header.blocks };
    if layout != expected || !header.relations.is_sound() {
        return Err(broken("its network, its table and its relations have different columns".into()));
    }
    let mixture = match base {
        Base::Zero => None,
        _ => Some(Mixture {
            layout: layout.clone(),
            log_weights: numbers("mixture.log_weights")?,
            means: numbers("mixture.means")?,
            axes: numbers("mixture.axes")?,
            variances: numbers("mixture.variances")?,
            levels: numbers("mixture.levels")?,
        }),
    };
    let preconditioner = Preconditioner::from_parts(PreconditionerParts {
        base,
        layout,
        times: header.times,
        means: numbers("means")?,
        variances: numbers("variances")?,
        mixture,
        scales: numbers("scales")?,
        contrasts: Contrasts {
            quantiles: read(&file, "contrasts.quantiles", Dtype::F64, f64::from_le_bytes)?,
            sums: header.contrasts,
        },
        radius: header.radius,
    })?;
    let stages = (0..header.networks).map(|i| {
        let signs = read_matrix(&file, &format!("a.{i}"), Dtype::I8, |[x]: [u8; 1]| f32::from(x as i8))?;
        Network::from_panels(read_matrix(&file, &format!("w.{i}"), Dtype::F32, f32::from_le_bytes)?, signs)
    });
    let stages = stages.collect::<Result<_>>()?;
    let calibration = match file.tensor("calibration") {
        Err(_) => None,
        Ok(_) => {
            let values = read(&file, "calibration", Dtype::F64, f64::from_le_bytes)?;
            let (rows, rest) = values.as_chunks::<{ Calibration::QUANTILES }>();
            if rows.len() != columns || !rest.is_empty() {
                return Err(broken("its calibration has another number of columns".into()));
            }
            Some(Calibration::from_quantiles(rows.iter().map(|q| q.to_vec()).collect())?)
        }
    };
    let model = ScoreModel::new(process, preconditioner, stages)?;
    if model.dimension() != codec.width() {
        return Err(broken("its network and its table have different widths".into()));
    }
    Ok(FittedTable { relations: header.relations, codec, model, calibration, record: header.record })
}

/// The part of the header that every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// A tensor on its way into the file.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Tensor {
    fn vector<T: Copy, const N: usize>(values: &[T], dtype: Dtype, bytes: impl Fn(T) -> [u8; N]) -> Self {
        Self { dtype, shape: vec![values.len()], data: values.iter().flat_map(|&x| bytes(x)).collect() }
    }

    fn matrix<const N: usize>(values: &Panels<f32>, dtype: Dtype, bytes: impl Fn(f32) -> [u8; N]) -> Self {
        let (rows, columns) = (values.rows(), values.columns());
        let mut data = Vec::with_capacity(rows * columns * N);
        for row in 0..rows {
            for column in 0..columns {
                data.extend(bytes(values.get(row, column)));
            }
        }
        Self { dtype, shape: vec![rows, columns], data }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

fn read<T, const N: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let tensor = file.tensor(name).ok().filter(|t| t.dtype() == dtype);
    let tensor =
        tensor.ok_or_else(|| Error::Model(format!("the model file lacks the tensor '{name}'; fit the model again")))?;
    Ok(tensor.data().as_chunks::<N>().0.iter().map(|&bytes| value(bytes)).collect())
}

fn read_matrix<const N: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    value: impl Fn([u8; N]) -> f32,
) -> Result<Panels<f32>> {
    let values = read(file, name, dtype, value)?;
    let shape = file.tensor(name).map(|t| t.shape().to_vec()).unwrap_or_default();
    let &[rows, columns] = shape.as_slice() else {
        return Err(Error::Model(format!(
            "the tensor '{name}' of the model file is not a matrix; fit the model again"
        )));
    };
    let matrix = faer::MatRef::from_row_major_slice(&values, rows, columns);
    Panels::from_matrix("a tensor of the model file", matrix)
}

//! The network in torch, with the tensor names of the weight file.

use anyhow::{Context, Result, ensure};
use crossover_ml::Network;
use crossover_ml::error::{Error, TensorProblem};
use crossover_ml::network::{HEADS, NORM_EPSILON, NORM_MOMENTUM};
use crossover_ml::weights::NamedTensor;
use tch::nn::{self, Module, ModuleT};
use tch::{Device, Kind, Tensor};

/// One hidden layer.
#[derive(Debug)]
struct Layer {
    linear: nn::Linear,
    norm: nn::BatchNorm,
}

/// The cost network in torch.
#[derive(Debug)]
pub struct TorchNetwork {
    store: nn::VarStore,
    layers: Vec<Layer>,
    heads: nn::Linear,
}

impl TorchNetwork {
    /// A torch network with the weights and running moments of `plain`, computing in `kind`.
    ///
    /// # Errors
    /// A tensor that torch does not take, which would be a fault of this crate.
    pub fn new(plain: &Network, kind: Kind) -> Result<TorchNetwork> {
        let mut store = nn::VarStore::new(Device::Cpu);
        let root = store.root();
        let norm = nn::BatchNormConfig {
            eps: f64::from(NORM_EPSILON),
            momentum: f64::from(NORM_MOMENTUM),
            ..nn::BatchNormConfig::default()
        };
        let mut inputs = i64::try_from(plain.encoder().inputs_count())?;
        let mut layers = Vec::new();
        for (at, width) in plain.hidden().iter().enumerate() {
            let path = &root / format!("layer{}", at + 1);
            let width = i64::try_from(*width)?;
            let linear = nn::linear(&path / "linear", inputs, width, nn::LinearConfig::default());
            let norm = nn::batch_norm1d(&path / "norm", width, norm);
            layers.push(Layer { linear, norm });
            inputs = width;
        }
        let heads = nn::linear(&root / "heads", inputs, HEADS as i64, nn::LinearConfig::default());
        store.set_kind(kind);
        let network = TorchNetwork { store, layers, heads };
        network.copy_from(plain)?;
        Ok(network)
    }

    fn copy_from(&self, plain: &Network) -> Result<()> {
        let mut variables = self.store.variables();
        let tensors = plain.tensors();
        ensure!(variables.len() == tensors.len(), "{} variables in torch", variables.len());
        for NamedTensor { name, shape, values } in tensors {
            let variable =
                variables.get_mut(&name).with_context(|| format!("torch has no `{name}`"))?;
            let shape: Vec<i64> = shape.into_iter().map(i64::try_from).collect::<Result<_, _>>()?;
            let from = Tensor::from_slice(&values).reshape(shape);
            tch::no_grad(|| variable.f_copy_(&from))?;
        }
        Ok(())
    }

    /// Writes weights and running moments into `plain`, which must have the same shape.
    ///
    /// # Errors
    /// Another shape, or values that are not finite.
    pub fn copy_to(&self, plain: &mut Network) -> Result<()> {
        let variables = self.store.variables();
        plain.set_tensors(|name, shape| {
            let wrong = |problem| Error::WeightsTensor { name: name.to_owned(), problem };
            let variable = variables.get(name).ok_or_else(|| wrong(TensorProblem::Missing))?;
            values(variable).map_err(|_| {
                let found = variable.size().iter().map(|&d| d.unsigned_abs() as usize).collect();
                wrong(TensorProblem::Shape { found, expected: shape.to_vec() })
            })
        })?;
        Ok(())
    }

    /// The heads (`rows × HEADS`) for inputs (`rows × inputs`). In training batch norm uses the batch's moments
    /// and moves the running ones, and a share of each hidden layer's outputs is left out.
    pub fn forward(&self, inputs: &Tensor, mode: Mode<'_>) -> Tensor {
        let (train, dropout) = match mode {
            Mode::Evaluation => (false, &[][..]),
            Mode::Training(dropout) => (true, dropout),
        };
        let shares = dropout.iter().copied().chain(std::iter::repeat(0.0));
        let mut x = inputs.shallow_clone();
        for (layer, share) in self.layers.iter().zip(shares) {
            x = layer.norm.forward_t(&layer.linear.forward(&x), train).relu();
            if share > 0.0 {
                x = x.dropout(f64::from(share), train);
            }
        }
        self.heads.forward(&x)
    }

    /// The variables, by the names of the weight file.
    #[must_use]
    pub fn store(&self) -> &nn::VarStore {
        &self.store
    }

    /// Takes a share of every hidden layer's weights away.
    pub(crate) fn decay(&mut self, share: f64) {
        tch::no_grad(|| {
            for layer in &mut self.layers {
                let _ = layer.linear.ws.g_mul_scalar_(1.0 - share);
            }
        });
    }
}

/// How a forward pass is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode<'a> {
    /// Running moments, no dropout.
    Evaluation,
    /// The batch's moments, and of each hidden layer this share left out; of those without a share, none.
    Training(&'a [f32]),
}

/// The values of a tensor as f32.
///
/// # Errors
/// What torch refuses.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.detach().to_kind(Kind::Float).contiguous().view(-1);
    Ok(Vec::<f32>::try_from(flat)?)
}

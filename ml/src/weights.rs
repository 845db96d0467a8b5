//! Weight files: safetensors bytes ↔ networks.
//!
//! A file holds one or more networks. The tensors of member k are named as torch names them,
//! with torch's shapes (`[outputs, inputs]`), so either trainer reads what the other wrote:
//!
//! ```text
//! member0.layer1.linear.weight  …linear.bias  …norm.weight  …norm.bias  …norm.running_mean  …norm.running_var
//! member0.layer2.…  …  member0.heads.weight  member0.heads.bias
//! ```
//!
//! All else (feature version, encoder, recalibration, provenance) is one JSON text in the metadata.

use crate::encoder::Encoder;
use crate::ensemble::Ensemble;
use crate::error::{Error, TensorProblem};
use crate::features::VERSION;
use crate::network::{HEADS, Network, Provenance, Recalibration};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// The version of the file's layout: what the metadata holds, and what its numbers mean.
pub const LAYOUT: u32 = 2;

/// The key of our text in the file's metadata.
const KEY: &str = "crossover";

/// A tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name, without the member.
    pub name: String,
    /// The shape, `[outputs, inputs]` or `[outputs]`.
    pub shape: Vec<usize>,
    /// The values, last dimension fastest.
    pub values: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    layout: u32,
    features_version: u32,
    members: Vec<Member>,
    /// What else a file of another kind holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    more: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct Member {
    hidden: Vec<usize>,
    fallback: [f64; 2],
    encoder: Encoder,
    recalibration: Recalibration,
    provenance: Provenance,
}

/// The file of these networks. The same networks give the same bytes.
///
/// # Errors
/// [`Error::Weights`] if the format cannot hold them.
///
/// ```
/// use crossover_ml::weights;
/// let bytes = weights::to_bytes(&[])?;
/// assert!(weights::from_bytes(&bytes)?.members().is_empty());
/// # Ok::<(), crossover_ml::Error>(())
/// ```
pub fn to_bytes(members: &[Network]) -> Result<Vec<u8>, Error> {
    pack(KEY, members, Vec::new(), None)
}

/// A file of another kind, which may hold more tensors: one that names another key is refused.
pub(crate) fn pack(
    key: &str,
    members: &[Network],
    others: Vec<NamedTensor>,
    more: Option<Value>,
) -> Result<Vec<u8>, Error> {
    let described = members.iter().map(Member::of).collect();
    let metadata = Metadata { layout: LAYOUT, features_version: VERSION, members: described, more };
    let text = serde_json::to_string(&metadata)
        .map_err(|error| Error::WeightsMetadata { reason: error.to_string() })?;
    let mut tensors: Vec<NamedTensor> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let named = |tensor: NamedTensor| NamedTensor {
            name: format!("member{at}.{}", tensor.name),
            ..tensor
        };
        tensors.extend(member.tensors().into_iter().map(named));
    }
    let bytes = |tensor: NamedTensor| {
        let bytes: Vec<u8> = tensor.values.iter().flat_map(|x| x.to_le_bytes()).collect();
        (tensor.name, tensor.shape, bytes)
    };
    let tensors: Vec<_> = tensors.into_iter().chain(others).map(bytes).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in &tensors {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?));
    }
    Ok(safetensors::serialize(views, Some(HashMap::from([(key.to_owned(), text)])))?)
}

/// The networks of a file.
///
/// # Errors
/// A file that is truncated or damaged, of another layout or feature table, or with tensors that do not fit.
///
/// ```
/// let error = crossover_ml::weights::from_bytes(b"a letter").expect_err("these are no weights");
/// println!("{error}");
/// ```
pub fn from_bytes(bytes: &[u8]) -> Result<Ensemble, Error> {
    Ok(Ensemble::new(unpack(KEY, bytes)?.0))
}

/// The networks of a file with this key, and what else it holds.
pub(crate) fn unpack(key: &str, bytes: &[u8]) -> Result<(Vec<Network>, Option<Value>), Error> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let text = header.metadata().as_ref().and_then(|map| map.get(key));
    let missing = || unreadable(&format!("no `{key}` entry"));
    let metadata = parse_metadata(text.ok_or_else(missing)?)?;
    let file = SafeTensors::deserialize(bytes)?;
    let members = metadata.members.into_iter().enumerate();
    let members = members.map(|(at, member)| member.network(at, &file));
    Ok((members.collect::<Result<_, _>>()?, metadata.more))
}

/// Another tensor of a file that [`unpack`] has read.
pub(crate) fn tensor(bytes: &[u8], name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    read_tensor(&SafeTensors::deserialize(bytes)?, name, shape)
}

fn parse_metadata(text: &str) -> Result<Metadata, Error> {
    /// Read before all else: what follows may have changed with it.
    #[derive(Deserialize)]
    struct Version {
        /// The first layout had no number.
        #[serde(default = "first")]
        layout: u32,
        features_version: u32,
    }
    fn first() -> u32 {
        1
    }
    let version: Version =
        serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))?;
    if version.layout != LAYOUT {
        return Err(Error::WeightsLayout { found: version.layout, expected: LAYOUT });
    }
    if version.features_version != VERSION {
        return Err(Error::FeatureVersion { found: version.features_version, expected: VERSION });
    }
    serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))
}

pub(crate) fn unreadable(reason: &str) -> Error {
    Error::WeightsMetadata { reason: reason.to_owned() }
}

impl Member {
    fn of(network: &Network) -> Member {
        Member {
            hidden: network.hidden.clone(),
            fallback: network.fallback,
            encoder: network.encoder.clone(),
            recalibration: network.recalibration,
            provenance: network.provenance.clone(),
        }
    }

    fn network(self, at: usize, file: &SafeTensors<'_>) -> Result<Network, Error> {
        let mut network = Network::zeroed(self.encoder, &self.hidden, self.fallback)
            .map_err(|error| unreadable(&error.to_string()))?;
        network.recalibration = self.recalibration;
        network.provenance = self.provenance;
        let prefix = format!("member{at}.");
        network.set_tensors(|name, shape| read_tensor(file, &format!("{prefix}{name}"), shape))?;
        Ok(network)
    }
}

fn read_tensor(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let wrong = |problem| Error::WeightsTensor { name: name.to_owned(), problem };
    let tensor = file.tensor(name).map_err(|_| wrong(TensorProblem::Missing))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        let found = if tensor.dtype() == Dtype::F32 { tensor.shape().to_vec() } else { Vec::new() };
        return Err(wrong(TensorProblem::Shape { found, expected: shape.to_vec() }));
    }
    let values = tensor.data().chunks_exact(4);
    let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>();
    if values.iter().any(|x| !x.is_finite()) {
        return Err(wrong(TensorProblem::Values));
    }
    Ok(values)
}

impl Network {
    /// Every learned tensor and every running moment, named and shaped as torch does.
    #[must_use]
    pub fn tensors(&self) -> Vec<NamedTensor> {
        let mut tensors = self.name_parameters(&self.parameters);
        for (at, layer) in self.layout.layers.iter().enumerate() {
            let of = |what: &str, values: &[f32]| NamedTensor {
                name: format!("layer{}.norm.{what}", at + 1),
                shape: vec![layer.outputs],
                values: values[layer.running.clone()].to_vec(),
            };
            tensors.push(of("running_mean", &self.running_mean));
            tensors.push(of("running_var", &self.running_variance));
        }
        tensors
    }

    /// Names the parts of a vector as long as the parameters: these themselves, or a gradient.
    #[must_use]
    pub(crate) fn name_parameters(&self, flat: &[f32]) -> Vec<NamedTensor> {
        let vector = |name: String, values: &[f32]| NamedTensor {
            name,
            shape: vec![values.len()],
            values: values.to_vec(),
        };
        let mut tensors = Vec::new();
        for (at, layer) in self.layout.layers.iter().enumerate() {
            let at = at + 1;
            let weight = transpose(&flat[layer.weight.clone()], layer.outputs);
            let shape = vec![layer.outputs, layer.inputs];
            tensors.push(NamedTensor {
                name: format!("layer{at}.linear.weight"),
                shape,
                values: weight,
            });
            tensors.push(vector(format!("layer{at}.linear.bias"), &flat[layer.bias.clone()]));
            tensors.push(vector(format!("layer{at}.norm.weight"), &flat[layer.gamma.clone()]));
            tensors.push(vector(format!("layer{at}.norm.bias"), &flat[layer.beta.clone()]));
        }
        tensors.push(NamedTensor {
            name: "heads.weight".to_owned(),
            shape: vec![HEADS, self.layout.head_inputs()],
            values: transpose(&flat[self.layout.head_weight.clone()], HEADS),
        });
        tensors.push(vector("heads.bias".to_owned(), &flat[self.layout.head_bias.clone()]));
        tensors
    }

    /// Takes every tensor from `read`, which is given its name and shape.
    ///
    /// # Errors
    /// What `read` returns, or [`Error::WeightsTensor`] if it gives values that do not fit. The
    /// network is then not to be used.
    pub fn set_tensors(
        &mut self,
        mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, Error>,
    ) -> Result<(), Error> {
        let mut checked = |name: &str, shape: &[usize]| {
            let values = read(name, shape)?;
            let problem = if values.len() != shape.iter().product::<usize>() {
                TensorProblem::Shape { found: vec![values.len()], expected: shape.to_vec() }
            } else if values.iter().any(|x| !x.is_finite())
                || (name.ends_with("running_var") && values.iter().any(|&x| x < 0.0))
            {
                TensorProblem::Values
            } else {
                return Ok(values);
            };
            Err(Error::WeightsTensor { name: name.to_owned(), problem })
        };
        for (at, layer) in self.layout.layers.clone().iter().enumerate() {
            let mut of =
                |what: &str, shape: &[usize]| checked(&format!("layer{}.{what}", at + 1), shape);
            let (inputs, outputs) = (layer.inputs, layer.outputs);
            let weight = of("linear.weight", &[outputs, inputs])?;
            self.parameters[layer.weight.clone()].copy_from_slice(&transpose(&weight, inputs));
            for (what, range) in [
                ("linear.bias", &layer.bias),
                ("norm.weight", &layer.gamma),
                ("norm.bias", &layer.beta),
            ] {
                self.parameters[range.clone()].copy_from_slice(&of(what, &[outputs])?);
            }
            let running = layer.running.clone();
            self.running_mean[running.clone()]
                .copy_from_slice(&of("norm.running_mean", &[outputs])?);
            self.running_variance[running].copy_from_slice(&of("norm.running_var", &[outputs])?);
        }
        let inputs = self.layout.head_inputs();
        let weight = checked("heads.weight", &[HEADS, inputs])?;
        self.parameters[self.layout.head_weight.clone()]
            .copy_from_slice(&transpose(&weight, inputs));
        let bias = checked("heads.bias", &[HEADS])?;
        self.parameters[self.layout.head_bias.clone()].copy_from_slice(&bias);
        if !self.is_finite() {
            return Err(unreadable("numbers that are not finite"));
        }
        self.fold();
        Ok(())
    }
}

/// Rows of `width` to columns.
fn transpose(values: &[f32], width: usize) -> Vec<f32> {
    let height = values.len() / width;
    let mut columns = vec![0.0; values.len()];
    for (at, row) in values.chunks_exact(width).enumerate() {
        for (column, value) in columns.chunks_exact_mut(height).zip(row) {
            column[at] = *value;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::InputForm;
    use crate::features::{Feature, Features};
    use crate::prediction::CostModel;

    fn networks() -> Vec<Network> {
        let kinds: [(InputForm, &[usize]); 3] = [
            (InputForm::Plain, &[7, 5, 3]),
            (InputForm::Piecewise(3), &[6]),
            (InputForm::Plain, &[4, 4, 4, 4, 3]),
        ];
        let network = |((form, hidden), seed): ((InputForm, &[usize]), u64)| {
            let encoder = Encoder::fit(&[Features::missing()], form).unwrap();
            let mut network = Network::new(encoder, hidden, [-12.0; 2], seed).unwrap();
            network.recalibration.offset = [0.25, -0.5];
            network.running_mean.iter_mut().for_each(|x| *x = 0.1);
            network.fold();
            network
        };
        kinds.into_iter().zip(1..).map(network).collect()
    }

    #[test]
    fn networks_survive_the_file() {
        let members = networks();
        let bytes = to_bytes(&members).unwrap();
        assert_eq!(bytes, to_bytes(&members).unwrap(), "the same bytes each time");
        let back = from_bytes(&bytes).unwrap();
        let mut features = Features::missing();
        features.set(Feature::Items, 1e6);
        for (before, after) in members.iter().zip(back.members()) {
            assert_eq!(before.predict(&features), after.predict(&features));
            assert_eq!(before.tensors(), after.tensors());
            assert_eq!(before.provenance, after.provenance);
        }
        assert_eq!(back.members().len(), 3);
    }

    #[test]
    fn damaged_files_are_errors() {
        let bytes = to_bytes(&networks()).unwrap();
        for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(from_bytes(&bytes[..length]).is_err(), "cut at {length}");
        }
        let mut other = bytes.clone();
        let text = format!("features_version\\\":{VERSION}");
        let at = bytes.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
        other[at + text.len() - 1] = b'9';
        assert!(matches!(from_bytes(&other), Err(Error::FeatureVersion { found: 9, .. })));
        let layout = format!("{{\\\"layout\\\":{LAYOUT},");
        let at = bytes.windows(layout.len()).position(|w| w == layout.as_bytes()).unwrap();
        let mut older = bytes.clone();
        older[at + layout.len() - 2] = b'1';
        let refused =
            |found| matches!(found, Err(Error::WeightsLayout { found: 1, expected: LAYOUT }));
        assert!(refused(from_bytes(&older)));
        // As it was before there was a number.
        older[at + 1..at + layout.len()].fill(b' ');
        assert!(refused(from_bytes(&older)));
        let mut not_finite = bytes.clone();
        let last = not_finite.len() - 4;
        not_finite[last..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(matches!(from_bytes(&not_finite), Err(Error::WeightsTensor { .. })));
        let foreign = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
        assert!(matches!(from_bytes(&foreign), Err(Error::WeightsMetadata { .. })));
    }

    #[test]
    fn every_flipped_byte_is_an_error_or_a_network() {
        let bytes = to_bytes(&networks()).unwrap();
        for at in (0..bytes.len()).step_by(37) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x55;
            if let Ok(ensemble) = from_bytes(&flipped) {
                let _ = ensemble.predict(&Features::missing());
            }
        }
    }
}

//! The samples of one workload, and the rows of the report that follow from them.
//!
//! A figure is the median over its repetitions. A ratio is computed within each repetition, where both
//! peers ran under the same conditions; the result is the median of the ratios.

use crate::peers::Peer;
use crate::workloads::Figure;
use readily_bench::report::Row;

pub struct Samples<'a> {
    workload: String,
    peers: &'a [&'static Peer],
    figures: Vec<(Figure, Vec<Vec<f64>>)>,
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl<'a> Samples<'a> {
    pub fn new(workload: String, peers: &'a [&'static Peer]) -> Self {
        Self {
            workload,
            peers,
            figures: Vec::new(),
        }
    }

    pub fn add(&mut self, index: usize, figure: Figure) {
        let value = figure.value;
        let mut figures = self.figures.iter();
        let known = figures.position(|(known, _)| known.name == figure.name);
        let at = known.unwrap_or_else(|| {
            let none = vec![Vec::new(); self.peers.len()];
            self.figures.push((figure, none));
            self.figures.len() - 1
        });
        self.figures[at].1[index].push(value);
    }

    fn ratio(&self, values: &[Vec<f64>], index: usize, other: &str) -> Option<f64> {
        let other = self.peers.iter().position(|peer| peer.name == other)?;
        let both = values[index].iter().zip(&values[other]);
        let ratios = both.filter(|(_, theirs)| **theirs > 0.0);
        median(ratios.map(|(ours, theirs)| ours / theirs).collect())
    }

    /// Returns a row for each figure of each peer.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (figure, values) in &self.figures {
            let name = match figure.name {
                "" => self.workload.clone(),
                name => format!("{}: {name}", self.workload),
            };
            for (index, peer) in self.peers.iter().enumerate() {
                let Some(value) = median(values[index].clone()) else {
                    continue;
                };
                rows.push(Row {
                    to_raw: self.ratio(values, index, "raw"),
                    to_tokio: self.ratio(values, index, "tokio"),
                    ..Row::new(&name, peer.name, value, figure.unit)
                });
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    fn figure(value: f64) -> Figure {
        Figure {
            name: "",
            unit: "ns",
            value,
        }
    }

    #[test]
    fn a_ratio_is_taken_within_each_repetition() {
        let named = |name| peers::ALL.iter().find(|peer| peer.name == name);
        let both = ["raw", "mio"].map(|name| named(name).expect("a peer"));
        let mut samples = Samples::new("echo".to_owned(), &both);
        for (raw, mio) in [(10.0, 20.0), (100.0, 150.0), (30.0, 120.0)] {
            samples.add(0, figure(raw));
            samples.add(1, figure(mio));
        }
        let rows = samples.rows();
        assert_eq!((rows[1].figure, rows[1].to_raw), (120.0, Some(2.0)));
        assert_eq!(rows[1].to_tokio, None);
    }
}

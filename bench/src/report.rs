//! The results, as tables and as a JSON file.
//!
//! An absolute figure depends on the machine and on its load. The tables therefore have, within each
//! workload, the ratio to handwritten code ("raw", the practical limit) and the ratio to tokio.
//!
//! Each row also has the peer that is ahead, with its figure. Only peers of one layer are compared
//! there: a poller that returns events does less than a loop that runs coroutines.
//!
//! A caller that measures ratios within each repetition passes them in; otherwise they are computed
//! from the figures.

use std::fmt::Write;
use std::io;
use std::path::Path;

/// The peers that all others are compared with.
const RAW: &str = "raw";
const TOKIO: &str = "tokio";

/// The kind of interface that a peer offers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layer {
    Poller,
    Callbacks,
    Coroutines,
}

impl Layer {
    const ALL: [Self; 3] = [Self::Poller, Self::Callbacks, Self::Coroutines];

    /// Returns the layer of a peer; `None` for a limit, which is written for one workload.
    fn of(peer: &str) -> Option<Self> {
        match peer {
            "raw" | "raw, boxed" | "none" => None,
            "poller" | "mio" | "polling" => Some(Self::Poller),
            "callbacks" | "terse callbacks" | "readily callbacks" => Some(Self::Callbacks),
            "calloop" | "libuv" | "libev" | "libevent" => Some(Self::Callbacks),
            _ => Some(Self::Coroutines),
        }
    }
}

/// One figure of one peer in one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub workload: String,
    pub peer: String,
    pub figure: f64,
    /// The unit of the figure, for one operation: `"instructions"`, `"ns"`, `"bytes"`.
    pub unit: String,
    /// The ratio measured within repetitions; `None` to use the ratio of the figures.
    pub to_raw: Option<f64>,
    pub to_tokio: Option<f64>,
}

impl Row {
    pub fn new(workload: &str, peer: &str, figure: f64, unit: &str) -> Self {
        Self {
            workload: workload.to_owned(),
            peer: peer.to_owned(),
            figure,
            unit: unit.to_owned(),
            to_raw: None,
            to_tokio: None,
        }
    }

    fn is_of(&self, workload: &str, unit: &str) -> bool {
        self.workload == workload && self.unit == unit
    }

    /// Returns whether this figure is better than `other`, of the same workload and unit.
    fn beats(&self, other: &Self) -> bool {
        if self.unit == "1/s" {
            self.figure > other.figure
        } else {
            self.figure < other.figure
        }
    }

    fn shown(&self) -> String {
        format!("{} {}", self.peer, number(self.figure))
    }
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Form {
    #[default]
    Text,
    Markdown,
}

/// All figures, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
    }

    /// Adds rows of another build: `label` is appended to the name of each workload.
    pub fn extend_as(&mut self, label: &str, rows: impl IntoIterator<Item = Row>) {
        self.extend(rows.into_iter().map(|row| Row {
            workload: row.workload + label,
            ..row
        }));
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the best row of one layer in a workload; `None` if fewer than two peers have a figure.
    /// A negative figure is not compared: it belongs to a timer that fired early.
    fn ahead(&self, workload: &str, unit: &str, layer: Layer) -> Option<&Row> {
        let of_layer = || {
            let rows = self.rows.iter().filter(|row| row.is_of(workload, unit));
            rows.filter(|row| Layer::of(&row.peer) == Some(layer))
        };
        let sound = of_layer().filter(|row| row.figure >= 0.0);
        let best = sound.reduce(|best, row| if row.beats(best) { row } else { best });
        best.filter(|_| of_layer().count() > 1)
    }

    fn ahead_of(&self, row: &Row) -> Option<&Row> {
        self.ahead(&row.workload, &row.unit, Layer::of(&row.peer)?)
    }

    /// Formats one table for each workload: figure, ratio to raw, ratio to tokio, and the peer of the
    /// same layer that is ahead.
    pub fn tables(&self, form: Form) -> String {
        let mut text = String::new();
        for (workload, unit) in self.groups() {
            let head = [unit, "ratio to raw", "ratio to tokio", "ahead"].map(str::to_owned);
            line(&mut text, form, workload, &head);
            rule(&mut text, form, head.len());
            for row in self.rows.iter().filter(|row| row.is_of(workload, unit)) {
                let figure = number(row.figure);
                let ahead = self.ahead_of(row).map_or("–".to_owned(), Row::shown);
                let cells = [figure, self.ratio(row, RAW), self.ratio(row, TOKIO), ahead];
                line(&mut text, form, &row.peer, &cells);
            }
            text.push('\n');
        }
        text
    }

    /// Formats one table for each unit: a line for each workload, a column for each peer, and the peer
    /// of each layer that is ahead.
    pub fn matrix(&self, form: Form) -> String {
        let mut text = String::new();
        let groups = self.groups();
        for unit in firsts(groups.iter().map(|&(_, unit)| unit)) {
            let of_unit = || self.rows.iter().filter(|row| row.unit == unit);
            let peers = firsts(of_unit().map(|row| row.peer.as_str()));
            let head = peers.iter().copied().chain(["ahead"]);
            let head: Vec<_> = head.map(str::to_owned).collect();
            line(&mut text, form, unit, &head);
            rule(&mut text, form, head.len());
            for workload in firsts(of_unit().map(|row| row.workload.as_str())) {
                let cell = |peer: &&str| {
                    let mut cells = of_unit().filter(|row| row.is_of(workload, unit));
                    let found = cells.find(|row| row.peer == *peer);
                    found.map_or("–".to_owned(), |row| number(row.figure))
                };
                let ahead = Layer::ALL.iter();
                let ahead = ahead.filter_map(|&layer| self.ahead(workload, unit, layer));
                let ahead: Vec<_> = ahead.map(Row::shown).collect();
                let ahead = match ahead.is_empty() {
                    true => "–".to_owned(),
                    false => ahead.join(", "),
                };
                let cells: Vec<_> = peers.iter().map(cell).chain([ahead]).collect();
                line(&mut text, form, workload, &cells);
            }
            text.push('\n');
        }
        text
    }

    /// Formats a JSON array of objects, one on each line.
    pub fn json(&self) -> String {
        let object = |row| object(row, self.ahead_of(row));
        let lines: Vec<_> = self.rows.iter().map(object).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }

    /// Writes [`json`](Self::json) to a file.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.json())
    }

    fn groups(&self) -> Vec<(&str, &str)> {
        firsts(
            self.rows
                .iter()
                .map(|row| (row.workload.as_str(), row.unit.as_str())),
        )
    }

    fn ratio(&self, row: &Row, to: &str) -> String {
        let measured = match to {
            RAW => row.to_raw,
            _ => row.to_tokio,
        };
        let ratio = measured.or_else(|| {
            let mut same = self
                .rows
                .iter()
                .filter(|other| other.is_of(&row.workload, &row.unit));
            let other = same.find(|other| other.peer == to)?.figure;
            (other > 0.0).then(|| row.figure / other)
        });
        ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
    }
}

/// Returns each distinct item once, in the order of first occurrence.
fn firsts<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for item in all {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}

/// Formats a figure with a number of decimal places that suits its size.
fn number(figure: f64) -> String {
    match figure.abs() {
        small if small < 10.0 => format!("{figure:.2}"),
        middling if middling < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

fn line(text: &mut String, form: Form, name: &str, cells: &[String]) {
    match form {
        Form::Markdown => {
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
        Form::Text => {
            let _ = write!(text, "{name:<44}");
            for cell in cells {
                let _ = write!(text, " {cell:>17}");
            }
            text.push('\n');
        }
    }
}

fn rule(text: &mut String, form: Form, cells: usize) {
    if form == Form::Markdown {
        let _ = writeln!(text, "|---|{}", "---:|".repeat(cells));
    }
}

fn object(row: &Row, ahead: Option<&Row>) -> String {
    let or_null = |value: Option<String>| value.unwrap_or("null".to_owned());
    let ratio = |ratio: Option<f64>| or_null(ratio.map(|ratio| ratio.to_string()));
    format!(
        "{{\"workload\":{},\"peer\":{},\"figure\":{},\"unit\":{},\"to_raw\":{},\"to_tokio\":{},\
         \"ahead\":{},\"ahead_figure\":{}}}",
        quoted(&row.workload),
        quoted(&row.peer),
        row.figure,
        quoted(&row.unit),
        ratio(row.to_raw),
        ratio(row.to_tokio),
        or_null(ahead.map(|row| quoted(&row.peer))),
        ratio(ahead.map(|row| row.figure)),
    )
}

fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add(Row::new("echo", "raw", 50.0, "ns"));
        report.add(Row::new("echo", "readily", 60.0, "ns"));
        let mut tokio = Row::new("echo", "tokio", 100.0, "ns");
        tokio.to_raw = Some(2.5);
        report.add(tokio);
        report
    }

    #[test]
    fn a_ratio_is_the_measured_one_or_that_of_the_figures() {
        let text = report().tables(Form::Markdown);
        let [readily, tokio] = [
            "| readily | 60.0 | 1.20 | 0.60 | readily 60.0 |",
            "| tokio | 100 | 2.50 | 1.00 | readily 60.0 |",
        ];
        assert!(text.contains(readily), "{text}");
        assert!(text.contains(tokio), "{text}");
    }

    #[test]
    fn the_matrix_has_a_column_for_each_peer() {
        let mut report = report();
        report.add(Row::new("churn", "tokio", 7.0, "ns"));
        let text = report.matrix(Form::Markdown);
        let head = "| ns | raw | readily | tokio | ahead |";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("| churn | – | – | 7.00 | – |"), "{text}");
    }

    #[test]
    fn the_best_of_each_layer_is_ahead() {
        let mut report = report();
        for (peer, figure) in [("mio", 55.0), ("poller", 54.0), ("libev", 58.0)] {
            report.add(Row::new("echo", peer, figure, "ns"));
        }
        let text = report.matrix(Form::Markdown);
        // The limit is not compared, and neither is a layer with one peer.
        assert!(text.contains("| poller 54.0, readily 60.0 |"), "{text}");
        let json = report.json();
        assert_eq!(
            json.matches(r#""ahead":"poller","ahead_figure":54}"#)
                .count(),
            2
        );
        assert_eq!(
            json.matches(r#""ahead":null,"ahead_figure":null}"#).count(),
            2
        );
    }

    #[test]
    fn a_larger_rate_is_ahead_and_a_negative_delay_is_not() {
        let mut report = Report::default();
        for (peer, rate, late) in [("libuv", 5.0, -3.0), ("libev", 9.0, 2.0)] {
            report.add(Row::new("echo", peer, rate, "1/s"));
            report.add(Row::new("sleep", peer, late, "µs late, least"));
        }
        let text = report.matrix(Form::Markdown);
        assert!(text.contains("| 5.00 | 9.00 | libev 9.00 |"), "{text}");
        assert!(text.contains("| -3.00 | 2.00 | libev 2.00 |"), "{text}");
    }

    #[test]
    fn what_is_quoted_can_be_read_back() {
        assert_eq!(quoted("a \"b\"\\\n"), r#""a \"b\"\\\u000a""#);
        assert!(report().json().contains(r#""to_raw":2.5,"#));
    }
}

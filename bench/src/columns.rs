//! Tables on the terminal: in columns where they fit, else a paragraph for each line.
//!
//! ```text
//! kernel  size      wasm  placed          dot small
//! dot     small   1.5 µs     cpu            wasm 1.5 µs, placed cpu
//! ```

use console::{Term, measure_text_width};

/// Blanks between columns.
const GAP: usize = 2;

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// As words do.
    Left,
    /// As numbers do.
    Right,
}

/// Columns of the terminal; more than any line has where the output is none.
pub(crate) fn terminal() -> usize {
    // What is formatted to a width can be no wider.
    let none = usize::from(u16::MAX);
    Term::stdout().size_checked().map_or(none, |(_, columns)| usize::from(columns))
}

/// A table. Its first columns name a line.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<(String, Side)>,
    names: usize,
    /// Whether the first head says what the table is about, and not what stands below it.
    is_titled: bool,
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table without lines, of which the first columns, so many, say what a line is about.
    pub(crate) fn new<S: Into<String>>(
        names: usize,
        heads: impl IntoIterator<Item = (S, Side)>,
    ) -> Table {
        let heads = heads.into_iter().map(|(head, side)| (head.into(), side)).collect();
        Table { heads, names, is_titled: false, lines: Vec::new() }
    }

    /// The same, where the first head says what the whole is about.
    pub(crate) fn titled(self) -> Table {
        Table { is_titled: true, ..self }
    }

    /// A table of numbers, each line with a name before them.
    pub(crate) fn of_numbers<const N: usize>(heads: [&str; N]) -> Table {
        let side = |at| if at == 0 { Side::Left } else { Side::Right };
        Table::new(1, heads.into_iter().enumerate().map(|(at, head)| (head, side(at))))
    }

    /// Appends a line: a cell for each column.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.lines.push(cells);
    }

    /// Prints it as wide as the terminal is; in columns where the output is none.
    pub(crate) fn print(&self) {
        print!("{}", self.shown(terminal()));
    }

    /// The table in lines no longer than this, where there are words short enough.
    pub(crate) fn shown(&self, columns: usize) -> String {
        let widths = self.widths();
        let width = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let mut out = String::new();
        if width > columns {
            if let Some((title, _)) = self.heads.first().filter(|_| self.is_titled) {
                wrap(&mut out, title, columns);
            }
            self.lines.iter().for_each(|line| self.paragraph(&mut out, line, columns));
            return out;
        }
        let heads: Vec<&str> = self.heads.iter().map(|(head, _)| head.as_str()).collect();
        self.line(&mut out, &widths, &heads);
        for line in &self.lines {
            let cells: Vec<&str> = line.iter().map(String::as_str).collect();
            self.line(&mut out, &widths, &cells);
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> =
            self.heads.iter().map(|(head, _)| measure_text_width(head)).collect();
        for line in &self.lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        widths
    }

    fn line(&self, out: &mut String, widths: &[usize], cells: &[&str]) {
        let mut line = String::new();
        for (at, ((cell, width), (_, side))) in
            cells.iter().zip(widths).zip(&self.heads).enumerate()
        {
            let blanks = " ".repeat(width - measure_text_width(cell).min(*width));
            let (before, behind) = match side {
                Side::Left => ("", blanks.as_str()),
                Side::Right => (blanks.as_str(), ""),
            };
            let gap = if at == 0 { "" } else { "  " };
            line += &format!("{gap}{before}{cell}{behind}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }

    fn paragraph(&self, out: &mut String, line: &[String], columns: usize) {
        let (names, cells) = line.split_at(self.names.min(line.len()));
        out.push_str(&names.join(" "));
        let heads = self.heads.iter().skip(self.names).map(|(head, _)| head);
        let told = heads.zip(cells).filter(|(_, cell)| *cell != "–" && !cell.is_empty());
        let parts: Vec<String> = told.map(|(head, cell)| format!("{head} {cell}")).collect();
        // Behind the names, a line of its own.
        let mut used = if names.is_empty() { 0 } else { usize::MAX };
        for (at, part) in parts.iter().enumerate() {
            let part = if at + 1 < parts.len() { format!("{part},") } else { part.clone() };
            let width = measure_text_width(&part);
            if used.saturating_add(1 + width) > columns {
                out.push_str("\n  ");
                used = 2;
            } else if used > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(&part);
            used += width;
        }
        out.push('\n');
    }
}

/// Words in lines no longer than this.
fn wrap(out: &mut String, text: &str, columns: usize) {
    let mut used = 0;
    for word in text.split(' ') {
        let width = measure_text_width(word);
        if used > 0 && used + 1 + width > columns {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += width;
    }
    out.push('\n');
}

/// What was measured beside what it should be. What falls short is marked.
#[derive(Debug)]
pub(crate) struct Targets(Table);

impl Targets {
    pub(crate) fn new() -> Targets {
        let heads = [("", Side::Left), ("found", Side::Right), ("target", Side::Left)];
        Targets(Table::new(1, heads))
    }

    /// Appends a line.
    pub(crate) fn push(&mut self, what: &str, found: String, target: &str, met: bool) {
        let mark = if met { ' ' } else { '✗' };
        self.0.push(vec![format!("{mark} {what}"), found, target.to_owned()]);
    }

    pub(crate) fn table(self) -> Table {
        self.0
    }
}

/// Prints tables with an empty line between them.
pub(crate) fn print_all(tables: &[Table]) {
    for (at, table) in tables.iter().enumerate() {
        if at > 0 {
            println!();
        }
        table.print();
    }
}

/// A share, as tables say it.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::{Side, Table};

    fn table() -> Table {
        let heads = [("kernel", Side::Left), ("wasm", Side::Right), ("gpu", Side::Right)];
        let mut table = Table::new(1, heads.into_iter().chain([("checked", Side::Left)]));
        let line = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        table.push(line(["dot", "1.5 µs", "–", "ok"]));
        table.push(line(["nbody", "12.25 ms", "3 s", "GPU: out of tolerance at 7"]));
        table
    }

    #[test]
    fn columns_stand_below_their_heads() {
        let shown = table().shown(60);
        let expected = "kernel      wasm  gpu  checked\n\
                        dot       1.5 µs    –  ok\n\
                        nbody   12.25 ms  3 s  GPU: out of tolerance at 7\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_does_not_fit_becomes_paragraphs() {
        let shown = table().shown(26);
        let expected = "dot\n  wasm 1.5 µs, checked ok\nnbody\n  wasm 12.25 ms, gpu 3 s,\n  \
                        checked GPU: out of tolerance at 7\n";
        assert_eq!(shown, expected);
        let words = |text: &str| text.split_whitespace().map(str::len).max();
        for columns in 1..60 {
            let lines = table().shown(columns);
            assert!(words(&lines).is_some_and(|longest| longest <= 10), "no word is cut: {lines}");
        }
    }

    #[test]
    fn what_a_table_is_about_stands_above_its_paragraphs() {
        let mut table = Table::of_numbers(["a chain of kernels", "bytes"]).titled();
        table.push(vec!["32".to_owned(), "7262608".to_owned()]);
        assert_eq!(table.shown(60), "a chain of kernels    bytes\n32                  7262608\n");
        assert_eq!(table.shown(14), "a chain of\nkernels\n32\n  bytes 7262608\n");
    }

    #[test]
    fn an_empty_table_has_its_heads() {
        let table = Table::new(1, [("a", Side::Left), ("b", Side::Right)]);
        assert_eq!(table.shown(80), "a  b\n");
        assert_eq!(table.shown(1), "");
    }
}

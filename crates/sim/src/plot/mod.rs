//! Charts as SVG text, written by hand: lines and points over two axes, reference marks, a legend.
//!
//! A chart stands on a background of its own, light or dark as its reader prefers, and needs nothing from outside. Runs
//! are told apart by colour and by dashes: the colours are those of Okabe and Ito ("Color Universal Design", 2008), which
//! people with any colour vision tell apart, less the yellow that vanishes on white. All words are escaped.
//!
//! **Refuses**: to know what a simulation is. **Start** at [`Chart::svg`].

pub mod cdf;
pub mod scale;

use std::fmt::Write as _;

pub use scale::{Axis, Spread};

/// Okabe and Ito's colours; more lines than colours repeat them with other dashes.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];

/// Width of a chart, pixels.
const WIDTH: f64 = 600.0;
/// Edges of the plotting area, pixels.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 582.0;
const TOP: f64 = 38.0;
const BOTTOM: f64 = 300.0;
/// Height of a legend's row, pixels.
const ROW: f64 = 18.0;
/// Width of a letter at the size of the legend, pixels: generous, since fonts differ.
const LETTER: f64 = 6.6;
/// Points closer than this to the last one drawn are left out, pixels.
const GRAIN: f64 = 0.3;

/// How the points of a line are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// A value holds until the next point: distributions and rates over time.
    Steps,
    /// Straight.
    Joined,
    /// Not at all: measured points.
    Dots,
    /// Straight, thin and grey: what is calculated, beside what is measured.
    Theory,
}

/// One run, or one law, in a chart.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points, ascending by x.
    pub points: Vec<(f64, f64)>,
    /// How they are joined.
    pub style: Style,
    /// Number of its colour and dashes.
    pub colour: usize,
}

/// A reference from elsewhere, with its words.
#[derive(Clone, PartialEq, Debug)]
pub enum Mark {
    /// A point, with thin lines to both axes.
    Point(f64, f64, String),
    /// A line at one x.
    Upright(f64, String),
    /// A line at one y.
    Level(f64, String),
}

/// A chart.
#[derive(Clone, PartialEq, Debug)]
pub struct Chart {
    /// Names its file and its parts: letters, digits and dashes.
    pub id: String,
    /// Its headline.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Upward.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
    /// What it is compared with.
    pub marks: Vec<Mark>,
}

/// Text with the characters that mean something in SVG and HTML replaced.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Not allowed in XML at all.
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

const STYLE: &str = "\
.back{fill:#fff}.ink{fill:#1b1f24}.faint{fill:#57606a}.grid{stroke:#d8dee4}.axis{stroke:#57606a}\
.mark{stroke:#57606a;fill:none}.law{stroke:#8c959f}\
.halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\
@media(prefers-color-scheme:dark){.back{fill:#16191d}.ink{fill:#e6edf3}.faint{fill:#9aa4ae}\
.grid{stroke:#30363d}.axis{stroke:#9aa4ae}.mark{stroke:#9aa4ae}.halo{stroke:#16191d}}";

impl Chart {
    /// The chart as a document of its own, which may as well stand inside a page.
    #[must_use]
    pub fn svg(&self) -> String {
        let legend = self.legend();
        let height = BOTTOM + 50.0 + ROW * legend.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{title}\" \
             font-family=\"system-ui,'DejaVu Sans',sans-serif\" font-size=\"12\">\
             <style>{STYLE}</style><rect class=\"back\" width=\"100%\" height=\"100%\"/>\
             <text class=\"ink\" x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"600\">{title}</text>\n",
            title = escape(&self.title)
        );
        self.grid(&mut out);
        let (width, tall) = (RIGHT - LEFT, BOTTOM - TOP);
        let _ = writeln!(
            out,
            "<clipPath id=\"{id}\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{width}\" height=\"{tall}\"/></clipPath>",
            id = self.clip()
        );
        // Below the lines: words must not hide what was measured.
        self.marks(&mut out);
        for line in &self.lines {
            self.line(&mut out, line);
        }
        for (row, entries) in legend.iter().enumerate() {
            let y = BOTTOM + 58.0 + ROW * row as f64;
            for &(x, line) in entries {
                swatch(&mut out, &self.lines[line], x, y - 4.0);
                let name = escape(&self.lines[line].name);
                let _ =
                    writeln!(out, "<text class=\"ink\" x=\"{}\" y=\"{y}\">{name}</text>", x + 32.0);
            }
        }
        out.push_str("</svg>\n");
        out
    }
    fn clip(&self) -> String {
        format!("clip-{}", self.id)
    }
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (RIGHT - LEFT)
    }
    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.y.place(value) * (BOTTOM - TOP)
    }

    /// Rows of the legend: where each line's entry begins.
    fn legend(&self) -> Vec<Vec<(f64, usize)>> {
        let mut rows: Vec<Vec<(f64, usize)>> = vec![Vec::new()];
        let mut x = LEFT;
        for (number, line) in self.lines.iter().enumerate() {
            let width = 32.0 + LETTER * line.name.chars().count() as f64 + 18.0;
            if x > LEFT && x + width > RIGHT {
                rows.push(Vec::new());
                x = LEFT;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, number));
            }
            x += width;
        }
        rows
    }

    fn grid(&self, out: &mut String) {
        for (value, words) in self.y.ticks() {
            let y = self.y(value);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"faint\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>",
                LEFT - 7.0,
                y + 4.0
            );
        }
        for (value, words) in self.x.ticks() {
            let x = self.x(value);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\"/>\
                 <text class=\"faint\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{words}</text>",
                BOTTOM + 4.0,
                BOTTOM + 18.0
            );
        }
        let _ = writeln!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\"/>\
             <text class=\"ink\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"ink\" transform=\"translate(15 {})rotate(-90)\" text-anchor=\"middle\">{}</text>",
            LEFT.midpoint(RIGHT),
            BOTTOM + 36.0,
            escape(&self.x.label),
            TOP.midpoint(BOTTOM),
            escape(&self.y.label)
        );
    }

    fn line(&self, out: &mut String, line: &Line) {
        let places = line.points.iter().map(|&(x, y)| (self.x(x), self.y(y)));
        let colour = COLOURS[line.colour % COLOURS.len()];
        if line.style == Style::Dots {
            for (x, y) in places {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"
                );
            }
            return;
        }
        let mut path = String::new();
        let mut last: Option<(f64, f64)> = None;
        let end = line.points.len();
        for (number, (x, y)) in places.enumerate() {
            // Far outside is as good as outside, and keeps the numbers short.
            let (x, y) = (x.clamp(-9999.0, 9999.0), y.clamp(-9999.0, 9999.0));
            let Some((last_x, last_y)) = last else {
                let _ = write!(path, "M{x:.1} {y:.1}");
                last = Some((x, y));
                continue;
            };
            if number + 1 < end && (x - last_x).abs() < GRAIN && (y - last_y).abs() < GRAIN {
                continue;
            }
            let _ = match line.style {
                Style::Steps => write!(path, "H{x:.1}V{y:.1}"),
                _ => write!(path, "L{x:.1} {y:.1}"),
            };
            last = Some((x, y));
        }
        if path.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "<path clip-path=\"url(#{})\" d=\"{path}\" fill=\"none\" {}/>",
            self.clip(),
            pen(line)
        );
    }

    fn marks(&self, out: &mut String) {
        let (edge, mut raised, mut last_level) = (RIGHT - 6.0, 0.0, f64::INFINITY);
        for mark in &self.marks {
            let (x, y, words, path) = match mark {
                Mark::Point(x, y, words) => {
                    let (x, y) = (self.x(*x), self.y(*y));
                    (x, y, words, format!("M{LEFT} {y:.1}H{x:.1}V{BOTTOM}"))
                }
                Mark::Upright(x, words) => {
                    let x = self.x(*x);
                    (x, TOP + 10.0, words, format!("M{x:.1} {TOP}V{BOTTOM}"))
                }
                Mark::Level(y, words) => {
                    let y = self.y(*y);
                    // At the end, where rates have mostly died down.
                    (RIGHT - 4.0, y, words, format!("M{LEFT} {y:.1}H{RIGHT}"))
                }
            };
            let _ = writeln!(out, "<path class=\"mark\" stroke-dasharray=\"4 3\" d=\"{path}\"/>");
            if matches!(mark, Mark::Point(..)) {
                let _ = writeln!(
                    out,
                    "<circle class=\"back\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
                     <circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" stroke-width=\"1.5\"/>"
                );
            }
            let room = LETTER * 0.92 * words.chars().count() as f64 + 12.0;
            let (anchor, at) = if x + room < edge { ("start", x + 8.0) } else { ("end", x - 8.0) };
            // Words stand below a point, where distributions leave room, and above a level and its neighbours' words.
            let down = if matches!(mark, Mark::Level(..)) {
                let own = y - 5.0;
                let near = (own - last_level).abs() < ROW;
                last_level = if near { last_level - ROW } else { own };
                last_level - y
            } else {
                raised += ROW;
                raised - 1.0
            };
            let words = escape(words);
            let _ = writeln!(
                out,
                "<text class=\"faint halo\" font-size=\"11\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{words}</text>",
                y + down
            );
        }
    }
}

/// Stroke of a line.
fn pen(line: &Line) -> String {
    if line.style == Style::Theory {
        let dash = DASHES[line.colour % DASHES.len()];
        return format!("class=\"law\" stroke-width=\"1.5\" stroke-dasharray=\"{dash}\"");
    }
    let (colour, round) =
        (COLOURS[line.colour % COLOURS.len()], line.colour / COLOURS.len() % DASHES.len());
    let dash = DASHES[round];
    format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"")
}

/// A piece of the line, for the legend.
fn swatch(out: &mut String, line: &Line, x: f64, y: f64) {
    let _ = if line.style == Style::Dots {
        let colour = COLOURS[line.colour % COLOURS.len()];
        writeln!(out, "<circle cx=\"{}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>", x + 13.0)
    } else {
        writeln!(out, "<path d=\"M{x} {y}h26\" fill=\"none\" {}/>", pen(line))
    };
}

#[cfg(test)]
mod tests {
    use super::{Axis, Chart, Line, Mark, Style, escape};

    fn chart() -> Chart {
        let line = |name: &str, style| Line {
            name: name.into(),
            points: vec![(0.0, 0.0), (1.0, 0.5), (2.0, 1.0)],
            style,
            colour: 0,
        };
        Chart {
            id: "x".into(),
            title: "a < b & \"c\"".into(),
            x: Axis::from_zero("time, s", 2.0),
            y: Axis::from_zero("share", 1.0),
            lines: vec![line("<script>", Style::Steps), line("dots", Style::Dots)],
            marks: vec![
                Mark::Point(1.0, 0.9, "it's <b>".into()),
                Mark::Upright(1.9, "up".into()),
                Mark::Level(0.2, "level".into()),
            ],
        }
    }

    #[test]
    fn words_cannot_become_markup() {
        assert_eq!(escape("<a href='x'>&\"\u{7}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
        let svg = chart().svg();
        for part in ["<script", "<b>", "a < b", "it's"] {
            assert!(!svg.contains(part), "{part} in {svg}");
        }
        assert!(svg.contains("&lt;script&gt;") && svg.contains("a &lt; b &amp; &quot;c&quot;"));
    }

    #[test]
    fn every_tag_is_closed_and_nothing_is_fetched() {
        let svg = chart().svg();
        let count = |part: &str| svg.matches(part).count();
        for tag in ["svg", "text", "style", "clipPath"] {
            assert_eq!(count(&format!("<{tag}")), count(&format!("</{tag}>")), "{tag}");
        }
        // The name of the language is the only address in it.
        assert_eq!(count("http"), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn words_of_marks_lie_below_what_was_measured() {
        let svg = chart().svg();
        let words = svg.find("level").expect("the mark's words");
        assert!(words < svg.find("stroke-width=\"2\"").expect("a line"));
    }

    #[test]
    fn levels_that_lie_close_do_not_write_over_each_other() {
        let mut chart = chart();
        chart.marks = vec![Mark::Level(0.0, "first".into()), Mark::Level(0.001, "second".into())];
        let svg = chart.svg();
        let y = |words: &str| -> f64 {
            let line = svg.lines().find(|line| line.contains(words)).expect("it is written");
            let at = line.split(" y=\"").nth(1).and_then(|rest| rest.split('"').next());
            at.and_then(|at| at.parse().ok()).expect("a number")
        };
        assert!((y(">first<") - y(">second<")).abs() >= 12.0);
    }

    #[test]
    fn distributions_are_drawn_in_steps_and_long_legends_in_rows() {
        let mut chart = chart();
        assert!(chart.svg().contains("M64.0 300.0H"));
        assert_eq!(chart.legend().len(), 1);
        chart.lines.iter_mut().for_each(|line| line.name = "a rather long name of a run".repeat(2));
        assert_eq!(chart.legend().len(), 2);
    }
}

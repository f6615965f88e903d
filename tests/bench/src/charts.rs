//! Bar charts as SVG: a bar per figure, on a scale of powers of ten where figures lie far apart.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One chart.
pub(crate) struct Chart {
    /// Name of the file, without its ending.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the scale counts.
    pub(crate) unit: &'static str,
    /// Names of the bars of each row; one is not named.
    pub(crate) series: &'static [&'static str],
    pub(crate) rows: Vec<Row>,
}

/// Bars that belong together.
pub(crate) struct Row {
    pub(crate) label: String,
    /// surgetank's are of another colour.
    pub(crate) ours: bool,
    pub(crate) values: Vec<f64>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 900;
const LABELS: u32 = 400;
const BAR: u32 = 14;
const GAP: u32 = 8;
const HEAD: u32 = 64;
const FOOT: u32 = 48;

/// From the first series to the last, dark to light.
const OURS: [RGBColor; 4] = [
    RGBColor(0, 92, 138),
    RGBColor(38, 133, 184),
    RGBColor(110, 178, 214),
    RGBColor(176, 214, 233),
];
const OTHERS: [RGBColor; 4] = [
    RGBColor(92, 92, 92),
    RGBColor(136, 136, 136),
    RGBColor(176, 176, 176),
    RGBColor(210, 210, 210),
];

impl Chart {
    /// Writes `name.svg` into that folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.svg", self.name));
        let area = SVGBackend::new(&path, (WIDTH, self.height())).into_drawing_area();
        // Its errors hold what is not `Send`.
        self.draw(&area)
            .map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    fn row_height(&self) -> u32 {
        BAR * self.series.len() as u32 + GAP
    }

    fn height(&self) -> u32 {
        HEAD + FOOT + self.row_height() * self.rows.len() as u32
    }

    /// Powers of ten around all figures.
    fn scale(&self) -> std::ops::Range<f64> {
        let positive = || {
            let values = self.rows.iter().flat_map(|row| &row.values).copied();
            values.filter(|value| *value > 0.0)
        };
        let least = positive().fold(f64::INFINITY, f64::min).min(1e9);
        let most = positive().fold(1.0, f64::max);
        let power = |value: f64| 10f64.powf(value);
        power(least.log10().floor())..power((most * 1.5).log10().ceil())
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let scale = self.scale();
        let rows = self.rows.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin_top(HEAD)
            .margin_left(LABELS)
            .margin_right(24)
            .x_label_area_size(FOOT - 8)
            .build_cartesian_2d(scale.clone().log_scale(), rows..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(WHITE)
            .x_desc(self.unit)
            .x_label_formatter(&|value| words(*value))
            .draw()?;
        let text = |size: u32, horizontal| {
            ("sans-serif", size)
                .into_font()
                .color(&BLACK)
                .pos(Pos::new(horizontal, VPos::Center))
        };
        area.draw(&Text::new(self.title, (16, 20), text(18, HPos::Left)))?;
        self.legend(area)?;
        let share = f64::from(BAR) / f64::from(self.row_height());
        for (at, row) in self.rows.iter().enumerate() {
            let top = at as f64 + f64::from(GAP) / 2.0 / f64::from(self.row_height());
            let (_, y) = chart.backend_coord(&(scale.start, at as f64 + 0.5));
            area.draw(&Text::new(
                row.label.as_str(),
                (LABELS as i32 - 8, y),
                text(13, HPos::Right),
            ))?;
            let colours = if row.ours { OURS } else { OTHERS };
            for (bar, (value, colour)) in row.values.iter().zip(colours).enumerate() {
                let from = top + share * bar as f64;
                let end = value.max(scale.start);
                let corners = [(scale.start, from), (end, from + share * 0.9)];
                chart.draw_series([Rectangle::new(corners, colour.filled())])?;
                let (x, y) = chart.backend_coord(&(end, from + share * 0.45));
                area.draw(&Text::new(words(*value), (x + 4, y), text(11, HPos::Left)))?;
            }
        }
        area.present()?;
        Ok(())
    }

    fn legend(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        if self.series.len() < 2 {
            return Ok(());
        }
        for (at, (name, colour)) in self.series.iter().zip(OTHERS).enumerate() {
            let x = LABELS as i32 + 110 * at as i32;
            area.draw(&Rectangle::new([(x, 40), (x + 12, 52)], colour.filled()))?;
            let style = ("sans-serif", 12)
                .into_font()
                .color(&BLACK)
                .pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(*name, (x + 18, 46), style))?;
        }
        Ok(())
    }
}

/// A number with blanks between thousands.
pub(crate) fn words(value: f64) -> String {
    if value != 0.0 && value.abs() < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit != '-' && !text.ends_with('-') {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(words(0.0), "0");
        assert_eq!(words(9.96), "10.0");
        assert_eq!(words(999.0), "999");
        assert_eq!(words(1_234_567.0), "1 234 567");
        assert_eq!(words(-123_456.0), "-123 456");
    }

    #[test]
    fn the_scale_covers_all_figures_and_a_chart_is_written() {
        let folder = std::env::temp_dir().join(format!("surgetank-charts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let chart = Chart {
            name: "one",
            title: "Title",
            unit: "instructions",
            series: &["median", "p99"],
            rows: vec![Row {
                label: "row <1>".to_owned(),
                ours: true,
                values: vec![35.0, 4200.0],
            }],
        };
        assert_eq!(chart.scale(), 10.0..10_000.0);
        chart.write(&folder).unwrap();
        let text = std::fs::read_to_string(folder.join("one.svg")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(text.contains("4 200") && text.contains("row &lt;1&gt;") && text.ends_with("</svg>\n"));
    }
}

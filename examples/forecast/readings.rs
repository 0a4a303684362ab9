//! A sensor's readings, out of a table.

/// Readings of a day: one every ten minutes, the first at midnight.
pub const DAY: usize = 144;

/// What a table says.
pub struct Readings {
    /// Degrees.
    pub values: Vec<f32>,
    /// The faults that are known of: name, first reading, and the one after the last.
    pub faults: Vec<(String, usize, usize)>,
}

/// Reads a table of comma-separated values: of its columns `degrees` is needed, and `fault` may name what is wrong.
pub fn read(text: &str) -> Result<Readings, String> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let degrees = column("degrees").ok_or("the first line names no column 'degrees'")?;
    let mut readings = Readings { values: vec![], faults: vec![] };
    for (i, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let value = cells.get(degrees).and_then(|cell| cell.parse().ok()).filter(|value: &f32| value.is_finite());
        readings.values.push(value.ok_or_else(|| format!("line {}: no number in the column 'degrees'", i + 2))?);
        let fault = column("fault").and_then(|fault| cells.get(fault)).filter(|fault| !fault.is_empty());
        match (fault, readings.faults.last_mut()) {
            (Some(fault), Some((name, _, end))) if *end == i && name == fault => *end = i + 1,
            (Some(fault), _) => readings.faults.push(((*fault).to_owned(), i, i + 1)),
            (None, _) => {}
        }
    }
    Ok(readings)
}

/// When a reading was taken.
pub fn when(reading: usize) -> String {
    let (day, hour, minute) = (reading / DAY + 1, reading % DAY / 6, reading % 6 * 10);
    format!("day {day:2} {hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_and_what_is_wrong_is_said() {
        let read_well =
            read("time, degrees,fault\n0,4.5,\n1,-3,stuck\n2,-3,stuck\n3,0.5,drift\n4,1,\n5,2,drift\n").unwrap();
        assert_eq!(read_well.values, [4.5, -3.0, -3.0, 0.5, 1.0, 2.0]);
        let drift = "drift".to_owned();
        assert_eq!(read_well.faults, [("stuck".to_owned(), 1, 3), (drift.clone(), 3, 4), (drift, 5, 6)]);
        for (text, wrong) in [
            ("", "names no column"),
            ("degrees\n4\nwarm\n", "line 3"),
            ("degrees\nNaN\n", "line 2"),
            ("a,degrees\n1\n", "line 2"),
        ] {
            assert!(read(text).is_err_and(|e| e.contains(wrong)), "{text}");
        }
    }
}

//! The counts as a table between two marks of a text, one row for each folder of tests and backend.

use std::collections::BTreeMap;

use super::counts::{Counts, Places};
use super::{Row, name};
use crate::output::thousands;

const BEGIN: &str = "<!-- written by `rimlight conformance --readme` -->\n";
const END: &str = "<!-- until here -->";
const HEADING: &str = "| tests | on | passed | on the GPU alone | nothing left to do | nodes on the host | unsupported | failed |\n\
    |---|---|---|---|---|---|---|---|\n";

/// The text with the rows of this backend put into its table.
///
/// # Errors
/// If it has no marks.
pub fn updated(text: &str, rows: &[Row], backend: &str) -> Result<String, String> {
    let missing = || format!("it lacks the marks '{}' and '{END}'", BEGIN.trim_end());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (table, after) = rest.split_once(END).ok_or_else(missing)?;
    let kept = table.lines().filter_map(|line| Some((key(line)?, line.to_owned())));
    let mut lines: BTreeMap<(String, String), String> = kept.collect();
    let mut folders: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        folders.entry(row.folder.parent().map(name).unwrap_or_default()).or_default().push(row);
    }
    for (folder, rows) in folders {
        let line = line(&folder, backend, Counts::new(rows.iter().copied()), rows.len());
        lines.insert((folder, backend.to_owned()), line);
    }
    let lines: String = lines.into_values().map(|line| line + "\n").collect();
    Ok(format!("{before}{BEGIN}{HEADING}{lines}{END}{after}"))
}

/// Folder and backend of a row of the table.
fn key(line: &str) -> Option<(String, String)> {
    let mut cells = line.split('|').skip(1).map(str::trim);
    let (folder, backend) = (cells.next()?.strip_prefix('`')?.strip_suffix('`')?, cells.next()?);
    Some((folder.to_owned(), backend.to_owned()))
}

fn line(folder: &str, backend: &str, counts: Counts, tests: usize) -> String {
    let places = match counts.places {
        Some(Places { gpu, nothing, host }) => [gpu, nothing, host].map(thousands).join(" | "),
        None => "| |".to_owned(),
    };
    let Counts { passed, failed, unsupported, .. } = counts;
    let (passed, tests) = (thousands(passed), thousands(tests));
    format!("| `{folder}` | {backend} | {passed} of {tests} | {places} | {unsupported} | {failed} |")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{End, Work};

    #[test]
    fn rows_of_one_backend_are_replaced_and_the_others_kept() {
        let row = |end| Row { name: "t".to_owned(), folder: "data/node/t".into(), end };
        let text = format!("a\n{BEGIN}{END}\nb\n");
        let cpu = [row(End::Passed(None)), row(End::Failed(String::new()))];
        let text = updated(&text, &cpu, "CPU").unwrap();
        assert!(text.contains("| `node` | CPU | 1 of 2 | | | | 0 | 1 |\n"), "{text}");
        let gpu = [row(End::Passed(Some(Work { host: vec![], dispatches: 1 })))];
        let text = updated(&text, &gpu, "GPU").unwrap();
        assert!(
            text.contains("| 1 of 2 |") && text.contains("| `node` | GPU | 1 of 1 | 1 | 0 | 0 | 0 | 0 |\n"),
            "{text}"
        );
        assert_eq!(updated(&text, &gpu, "GPU").unwrap(), text);
        assert!(text.starts_with("a\n") && text.ends_with("\nb\n"));
        assert!(updated("nothing", &gpu, "GPU").is_err());
    }
}

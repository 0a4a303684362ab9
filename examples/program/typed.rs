//! The command line of an example: `--option value`, and what stands by itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use rimlight::{Backend, Device, DeviceOptions};

use super::{Failure, wrong};

/// What the user typed.
#[derive(Debug, Default)]
pub struct Typed {
    options: Vec<(String, OsString)>,
    /// What stands by itself.
    pub rest: Vec<OsString>,
}

impl Typed {
    /// `None` if the user asked for help. Every option has a value; `-o` is short for `--output`.
    pub fn read(mut given: impl Iterator<Item = OsString>, options: &[&str]) -> Result<Option<Self>, Failure> {
        let mut typed = Self::default();
        while let Some(argument) = given.next() {
            let text = argument.to_str().map(|text| if text == "-o" { "--output" } else { text });
            let Some(flag) = text.and_then(|text| text.strip_prefix("--")) else {
                typed.rest.push(argument);
                continue;
            };
            let (flag, attached) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value.into())),
                None => (flag, None),
            };
            if flag == "help" {
                return Ok(None);
            }
            if !options.contains(&flag) {
                return Err(wrong(format!("there is no --{flag}; --help tells what there is")));
            }
            let value = attached.or_else(|| given.next());
            let value = value.ok_or_else(|| wrong(format!("--{flag} needs a value; --help tells more")))?;
            typed.options.push((flag.to_owned(), value));
        }
        Ok(Some(typed))
    }

    fn last(&self, option: &str) -> Option<&OsString> {
        self.options.iter().rev().find(|(name, _)| name == option).map(|(_, value)| value)
    }

    /// An option's text.
    pub fn text(&self, option: &str) -> Option<String> {
        self.last(option).map(|value| value.to_string_lossy().into_owned())
    }

    /// An option's texts, in the order in which they were given.
    pub fn texts(&self, option: &str) -> impl Iterator<Item = String> {
        let given = self.options.iter().filter(move |(name, _)| name == option);
        given.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    /// An option's file.
    pub fn path(&self, option: &str) -> Option<PathBuf> {
        self.last(option).map(PathBuf::from)
    }

    /// An option's number, within bounds.
    pub fn number<T>(&self, option: &str, unless_told: T, [least, most]: [T; 2]) -> Result<T, Failure>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(option) else { return Ok(unless_told) };
        let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
        number.ok_or_else(|| wrong(format!("--{option} is from {least} to {most}, not '{text}'")))
    }

    /// The device that `--backend` asks for.
    pub fn device(&self) -> Result<Device, Failure> {
        let mut wanted = DeviceOptions::default();
        if let Some(text) = self.text("backend") {
            wanted.backend = backend(&text)?;
        }
        Ok(Device::new(&wanted)?)
    }
}

/// Where to run, by name.
pub fn backend(text: &str) -> Result<Backend, Failure> {
    match text {
        "auto" => Ok(Backend::Auto),
        "gpu" => Ok(Backend::Gpu),
        "cpu" => Ok(Backend::Cpu),
        other => Err(wrong(format!("--backend is auto, gpu or cpu, not '{other}'"))),
    }
}

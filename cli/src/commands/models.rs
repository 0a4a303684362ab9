//! `rimlight models`: the models that are known by name.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{print, print_json};
use crate::failure::{Failure, Outcome};
use crate::fetch::{Pulled, pull};
use crate::folders::{cache_folder, local_folder};
use crate::known::{Known, Manifest};
use crate::output::{self, Table};

/// List the models that are known by name, or pull one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rimlight models\n  rimlight models pull mnist-8\n  rimlight models --json\n\n\
    RIMLIGHT_MODELS=FOLDER names a folder to take models from; RIMLIGHT_CACHE=FOLDER keeps pulled ones elsewhere.")]
pub struct Models {
    #[command(subcommand)]
    action: Option<Action>,
    /// Another manifest than the program's own
    #[arg(long, value_name = "FILE.toml", global = true)]
    manifest: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetch a model into the cache and check its SHA-256
    #[command(after_help = "Example: rimlight models pull mnist-8")]
    Pull {
        /// The model's name
        name: String,
    },
}

impl Models {
    pub fn run(&self) -> Outcome {
        let manifest = Manifest::load(self.manifest.as_deref())?;
        match &self.action {
            None if self.json => print_json(&manifest.models.iter().map(json).collect()),
            None => list(&manifest),
            Some(Action::Pull { name }) => self.pull(manifest.find(name)?),
        }
    }

    fn pull(&self, known: &Known) -> Outcome {
        let outcome = if known.embedded {
            None
        } else {
            let local = local_folder();
            let cache = cache_folder()
                .ok_or_else(|| Failure::input("this system names no folder for caches: set RIMLIGHT_CACHE to one"))?;
            let bar = output::progress(known.size, &known.name, true);
            let outcome = pull(known, local.as_deref(), &cache, &|done| bar.set_position(done));
            bar.finish_and_clear();
            Some(outcome?)
        };
        let (state, path) = match &outcome {
            None => ("embedded", None),
            Some(Pulled::There(path)) => ("there", Some(path)),
            Some(Pulled::Fetched(path)) => ("fetched", Some(path)),
        };
        if self.json {
            return print_json(&serde_json::json!({
                "name": known.name, "state": state, "path": path, "sha256": known.sha256, "licence": known.licence,
            }));
        }
        let place = path.map(|path| path.display().to_string()).unwrap_or_default();
        print(&match state {
            "embedded" => format!("{} is part of the program: `rimlight try {}` runs it\n", known.name, known.name),
            "there" => format!("{} is there already, its SHA-256 is right: {place}\n", known.name),
            _ => format!("{}: SHA-256 {} is right; licence {}\n{place}\n", known.name, known.sha256, known.licence),
        })
    }
}

fn json(known: &Known) -> serde_json::Value {
    serde_json::json!({
        "name": known.name,
        "about": known.about,
        "file": known.file,
        "format": known.format,
        "licence": known.licence,
        "size": known.size,
        "sha256": known.sha256,
        "url": known.url,
        "derived": known.derived,
        "embedded": known.embedded,
        "source": known.source.as_ref().map(|source| serde_json::json!({
            "repository": source.repository, "path": source.path, "commit": source.commit,
        })),
        "path": known.local(),
    })
}

fn list(manifest: &Manifest) -> Outcome {
    let mut table = Table::default();
    for known in &manifest.models {
        let state = if known.embedded {
            "embedded"
        } else if known.local().is_some() {
            "here"
        } else if known.url.is_some() {
            "to pull"
        } else {
            "derived"
        };
        table.row([&known.name, state, &rimlight::plan::readable_bytes(known.size), &known.licence, &known.about]);
    }
    print(&format!(
        "{table}\n`rimlight models pull NAME` fetches one that is to pull; a derived one was made from its source and is \
         taken\nfrom the folder that RIMLIGHT_MODELS names. `--json` adds SHA-256 and source.\n"
    ))
}

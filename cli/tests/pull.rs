//! `rimlight models pull` against a server of our own that misbehaves in every way.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use rimlight_cli::known::hexadecimal;
use sha2::{Digest, Sha256};

/// The model that the server has: any bytes will do, the file is not opened.
fn body() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Starts the server and gives its address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    // The rest of the header, up to the empty line.
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let body = body();
    let head =
        |status: &str, length: usize| format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    let path = request.split_whitespace().nth(1)?;
    match path {
        "/model" => {
            write!(stream, "{}\r\n", head("200 OK", body.len())).ok()?;
            stream.write_all(&body).ok()
        }
        "/moved" => write!(stream, "{}Location: /moved-again\r\n\r\n", head("302 Found", 0)).ok(),
        "/moved-again" => write!(stream, "{}Location: /model\r\n\r\n", head("301 Moved Permanently", 0)).ok(),
        "/circle" => write!(stream, "{}Location: /circle\r\n\r\n", head("302 Found", 0)).ok(),
        "/cut" => {
            write!(stream, "{}\r\n", head("200 OK", body.len())).ok()?;
            stream.write_all(&body[..70_000]).ok()
        }
        // No length is given: what is short ends like what is whole.
        "/short" => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").ok()?;
            stream.write_all(&body[..70_000]).ok()
        }
        "/endless" => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").ok()?;
            loop {
                stream.write_all(&body).ok()?;
            }
        }
        "/wrong" => {
            write!(stream, "{}\r\n", head("200 OK", body.len())).ok()?;
            stream.write_all(&vec![1; body.len()]).ok()
        }
        _ => write!(stream, "{}\r\nnot here", head("404 Not Found", 8)).ok(),
    }
}

/// A manifest of one model at this address.
fn manifest(folder: &Path, url: &str) {
    let text = format!(
        "[[model]]\nname = \"tiny\"\nabout = \"a test\"\nfile = \"tiny.onnx\"\nformat = \"onnx\"\nlicence = \"MIT\"\n\
         size = {}\nsha256 = \"{}\"\nurl = \"{url}\"\n",
        body().len(),
        hexadecimal(&Sha256::digest(body()))
    );
    fs::write(folder.join("manifest.toml"), text).unwrap();
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rimlight"));
    command.args(["models", "pull", "tiny", "--json", "--manifest"]).arg(folder.join("manifest.toml"));
    command.env("RIMLIGHT_CACHE", folder.join("cache")).env_remove("RIMLIGHT_MODELS");
    for proxy in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}

fn pull(folder: &Path, url: &str) -> Output {
    manifest(folder, url);
    command(folder).output().unwrap()
}

fn state(output: &Output) -> String {
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    json["state"].as_str().unwrap().to_owned()
}

/// What lies in the cache.
fn cached(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("cache")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_model_is_fetched_once_through_redirections() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve();
    let output = pull(folder.path(), &format!("{server}/moved"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(state(&output), "fetched");
    assert_eq!(fs::read(folder.path().join("cache/tiny.onnx")).unwrap(), body());
    assert_eq!(state(&pull(folder.path(), "http://127.0.0.1:9/nobody-is-asked")), "there");
    assert_eq!(cached(folder.path()), ["tiny.onnx"]);
}

#[test]
fn whatever_the_server_does_nothing_wrong_is_kept() {
    let server = serve();
    for (path, said) in [
        ("cut", "of 200000 bytes"),
        ("short", "ended after 70000 of 200000 bytes"),
        ("endless", "longer than the 200000 bytes"),
        ("wrong", "SHA-256"),
        ("missing", "404"),
        ("circle", "redirect"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = pull(folder.path(), &format!("{server}/{path}"));
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{path}: {message}");
        assert!(message.contains(said), "{path}: {message}");
        assert!(cached(folder.path()).is_empty(), "{path}: {:?}", cached(folder.path()));
    }
}

/// What the program says where there is no room for the model, and what it leaves behind: nothing.
#[cfg(target_os = "linux")]
fn no_room(folder: &Path, output: &Output) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    let (file, size) = (folder.join("cache/tiny.onnx"), body().len());
    for part in [format!("'{}'", file.display()), format!("needs {size} bytes")] {
        assert!(message.contains(&part), "'{part}' in {message}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_may_not_grow_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), &format!("{}/model", serve()));
    let pull = command(folder.path());
    // A limit of 64 blocks of 512 or 1024 bytes, of which writing tells and does not kill.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"]).arg(pull.get_program());
    limited.args(pull.get_args()).env("RIMLIGHT_CACHE", folder.path().join("cache")).env_remove("RIMLIGHT_MODELS");
    no_room(folder.path(), &limited.output().unwrap());
    assert!(cached(folder.path()).is_empty(), "{:?}", cached(folder.path()));
    // With room it works in the same place.
    assert_eq!(state(&command(folder.path()).output().unwrap()), "fetched");
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_full_disk_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), &format!("{}/model", serve()));
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    // A disk of 100 kB, which only this process and its children see; what is left there is told on the standard output.
    let script = "mount -t tmpfs -o size=100k none \"$CACHE\" || exit 100
        \"$@\"; code=$?; ls -A \"$CACHE\"; exit $code";
    let pull = command(folder.path());
    let mut small = Command::new("unshare");
    small.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(pull.get_program());
    small.args(pull.get_args()).env("CACHE", &cache).env("RIMLIGHT_CACHE", &cache).env_remove("RIMLIGHT_MODELS");
    let output = match small.output() {
        Ok(output) if !matches!(output.status.code(), Some(1 | 100)) => output,
        other => return eprintln!("skipped: no small disk can be mounted here: {other:?}"),
    };
    no_room(folder.path(), &output);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("cache")).unwrap();
    fs::write(folder.path().join("cache/tiny.onnx"), vec![0; body().len()]).unwrap();
    assert_eq!(state(&pull(folder.path(), &format!("{}/model", serve()))), "fetched");
    assert_eq!(fs::read(folder.path().join("cache/tiny.onnx")).unwrap(), body());
}

#[test]
fn two_pulls_at_once_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), &format!("{}/model", serve()));
    let both = [(); 2].map(|()| command(folder.path()).spawn().unwrap());
    for child in both {
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    }
    assert_eq!(cached(folder.path()), ["tiny.onnx"]);
    assert_eq!(fs::read(folder.path().join("cache/tiny.onnx")).unwrap(), body());
}

#[test]
fn the_local_folder_comes_first_and_must_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("local");
    fs::create_dir(&local).unwrap();
    manifest(folder.path(), "http://127.0.0.1:9/nobody-is-asked");
    let pull = || command(folder.path()).env("RIMLIGHT_MODELS", &local).output().unwrap();
    fs::write(local.join("tiny.onnx"), body()).unwrap();
    assert_eq!(state(&pull()), "there");
    fs::write(local.join("tiny.onnx"), b"something else").unwrap();
    let output = pull();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SHA-256"));
}

#[test]
fn a_derived_model_says_why_it_cannot_be_had() {
    let output = Command::new(env!("CARGO_BIN_EXE_rimlight"))
        .args(["models", "pull", "mobilenetv2_fp32"])
        .env("RIMLIGHT_CACHE", tempfile::tempdir().unwrap().path())
        .env_remove("RIMLIGHT_MODELS")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("RIMLIGHT_MODELS"));
}

//! Files that are wrong as a whole.

use std::fs;
use std::path::Path;

use prost::Message;
use rimlight::Model;
use rimlight::onnx::messages::*;
use rimlight_fuzz::onnx::{floats, graph_in, inner, int, integers, node, port};

use super::{limits, load, of, wrong};

/// `y = Relu(x)`, to be changed.
fn relu() -> GraphProto {
    GraphProto {
        node: vec![node("Relu", &["x"], "y", vec![])],
        input: vec![port("x", &[2, 3])],
        output: vec![port("y", &[2, 3])],
        ..GraphProto::default()
    }
}

fn changed(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    let mut graph = relu();
    change(&mut graph);
    of(graph)
}

fn constant(change: impl FnOnce(&mut TensorProto)) -> ModelProto {
    changed(|graph| {
        let mut tensor = floats("w", &[2]);
        change(&mut tensor);
        graph.initializer.push(tensor);
    })
}

fn attribute(change: impl FnOnce(&mut AttributeProto)) -> ModelProto {
    changed(|graph| {
        let mut attribute = int("alpha", 1);
        change(&mut attribute);
        graph.node[0] = node("LeakyRelu", &["x"], "y", vec![attribute]);
    })
}

/// If in If in If: each branch holds two more.
fn bomb(depth: usize) -> GraphProto {
    if depth == 0 {
        return inner(&[], &["b"], vec![node("Identity", &["c"], "b", vec![])]);
    }
    let branch = || bomb(depth - 1);
    let choice = node("If", &["c"], "b", vec![graph_in("then_branch", branch()), graph_in("else_branch", branch())]);
    inner(&[], &["b"], vec![choice])
}

/// A loop of so many trips around a body.
fn repeated(trips: i64, body: Vec<NodeProto>) -> ModelProto {
    let body = inner(&["time", "going", "v"], &["going", "next"], body);
    changed(|graph| {
        graph.initializer.push(TensorProto { dims: vec![], ..integers("trips", &[trips]) });
        graph.node = vec![node("Loop", &["trips", "", "x"], "y", vec![graph_in("body", body)])];
    })
}

fn function(nodes: Vec<NodeProto>, calls: usize) -> ModelProto {
    let name = |i: usize| format!("F{i}");
    let own = |node: NodeProto| NodeProto { domain: Some("own".to_owned()), ..node };
    let mut model = changed(|graph| graph.node = vec![own(node(&name(0), &["x"], "y", vec![]))]);
    model.opset_import.push(OperatorSetIdProto { domain: Some("own".to_owned()), version: Some(1) });
    for i in 0..calls {
        let mut body = nodes.clone();
        if i + 1 < calls {
            // Each calls the next one twice.
            body = vec![own(node(&name(i + 1), &["a"], "c", vec![])), own(node(&name(i + 1), &["c"], "b", vec![]))];
        }
        model.functions.push(FunctionProto {
            name: Some(name(i)),
            domain: Some("own".to_owned()),
            input: vec!["a".to_owned()],
            output: vec!["b".to_owned()],
            node: body,
            opset_import: model.opset_import.clone(),
            ..FunctionProto::default()
        });
    }
    model
}

fn cases() -> Vec<(&'static str, &'static str, ModelProto)> {
    let identity = || node("Identity", &["v"], "next", vec![]);
    let twice = || node("Add", &["v", "v"], "next", vec![]);
    let itself = NodeProto { domain: Some("own".to_owned()), ..node("F0", &["a"], "b", vec![]) };
    vec![
        ("no graph", "load format: it holds no graph", ModelProto { graph: None, ..of(relu()) }),
        ("no operator set", "load format: it names no operator set", ModelProto { opset_import: vec![], ..of(relu()) }),
        (
            "version 0 of the format",
            "load format: its IR version is 0, the oldest supported",
            ModelProto { ir_version: Some(0), ..of(relu()) },
        ),
        (
            "two values of one name",
            "load graph: the value 'y' is defined twice",
            changed(|g| g.node.push(node("Neg", &["x"], "y", vec![]))),
        ),
        (
            "two inputs of one name",
            "load graph: the value 'x' is defined twice",
            changed(|g| g.input.push(port("x", &[1]))),
        ),
        (
            "two constants of one name",
            "load graph: the value 'w' is defined twice",
            changed(|g| g.initializer = vec![floats("w", &[1]), floats("w", &[1])]),
        ),
        (
            "an output twice",
            "load graph: the output 'y' is listed twice",
            changed(|g| g.output.push(port("y", &[2, 3]))),
        ),
        (
            "an output that nothing gives",
            "load graph: nothing computes the output 'z'",
            changed(|g| g.output.push(port("z", &[2, 3]))),
        ),
        (
            "an input that nothing gives",
            "load node: it reads 'z', which nothing defines",
            changed(|g| g.node[0].input[0] = "z".to_owned()),
        ),
        (
            "a value without a name",
            "load graph: an input, a constant or an initializer has",
            changed(|g| g.initializer = vec![floats("", &[1])]),
        ),
        (
            "a cycle of one",
            "load node: it needs its own output: the graph has a cycle",
            changed(|g| g.node[0].input[0] = "y".to_owned()),
        ),
        (
            "a cycle of two",
            "load node: it needs its own output: the graph has a cycle",
            changed(|g| g.node = vec![node("Neg", &["y"], "a", vec![]), node("Neg", &["a"], "y", vec![])]),
        ),
        (
            "a dimension of -2",
            "load graph: input 'x' has the dimension -2",
            changed(|g| g.input = vec![port("x", &[2, -2])]),
        ),
        ("65 dimensions", "load graph: input 'x' has 65 dimensions", changed(|g| g.input = vec![port("x", &[1; 65])])),
        (
            "sizes without end",
            "plan limit: the number of elements of 'x' is 18446744073709551615, above the",
            changed(|g| g.input = vec![port("x", &[i64::MAX, i64::MAX])]),
        ),
        (
            "an input of 2^40",
            "plan limit: the number of elements of 'x' is 1099511627776, above the limit of",
            changed(|g| g.input = vec![port("x", &[1 << 20, 1 << 20])]),
        ),
        (
            "negative sizes of a constant",
            "load tensor: tensor 'w': the shape [-1, -2] is not valid",
            constant(|t| t.dims = vec![-1, -2]),
        ),
        (
            "sizes that overflow",
            "load limit: the number of elements of tensor 'w' is 18446744073709551615, above",
            constant(|t| t.dims = vec![1 << 32, 1 << 32]),
        ),
        (
            "sizes that overflow to what is there",
            "load limit: the number of elements of tensor 'w' is 18446744073709551615, above",
            constant(|t| t.dims = vec![(1 << 62) + 1, 4, 2]),
        ),
        (
            "a constant of 2^40",
            "load limit: the number of elements of tensor 'w' is 1099511627776, above the",
            constant(|t| t.dims = vec![1 << 40]),
        ),
        (
            "too few bytes",
            "load tensor: tensor 'w': a tensor of shape [1000] and type f32 needs 4000 bytes",
            constant(|t| t.dims = vec![1000]),
        ),
        (
            "too many bytes",
            "load tensor: tensor 'w': a tensor of shape [1] and type f32 needs 4 bytes, but 8",
            constant(|t| t.dims = vec![1]),
        ),
        (
            "half a number",
            "load tensor: tensor 'w': a tensor of shape [2] and type f32 needs 8 bytes, but 7",
            constant(|t| t.raw_data = Some(vec![0; 7].into())),
        ),
        (
            "too few numbers",
            "load tensor: tensor 'w': a tensor of shape [2] and type f32 needs 8 bytes, but 4",
            constant(|t| (t.raw_data, t.float_data) = (None, vec![1.0])),
        ),
        (
            "numbers twice",
            "load tensor: tensor 'w': its data is stored twice, as bytes and as numbers",
            constant(|t| t.float_data = vec![1.0, 2.0]),
        ),
        (
            "numbers in another field",
            "load tensor: tensor 'w': a tensor of shape [2] and type f32 needs 8 bytes, but 0",
            constant(|t| (t.raw_data, t.int64_data) = (None, vec![1, 2])),
        ),
        (
            "a number that does not fit",
            "load tensor: tensor 'w': the element 300 does not fit its type",
            constant(|t| (t.data_type, t.raw_data, t.int32_data) = (Some(3), None, vec![1, 300])),
        ),
        (
            "complex numbers",
            "load unsupported: tensor 'w': the element type complex64 is not supported",
            constant(|t| t.data_type = Some(14)),
        ),
        (
            "no element type",
            "load unsupported: tensor 'w': the element type undefined is not supported",
            constant(|t| t.data_type = None),
        ),
        (
            "element type 99",
            "load unsupported: tensor 'w': the element type with the unknown number 99 is not",
            constant(|t| t.data_type = Some(99)),
        ),
        (
            "segments",
            "load tensor: tensor 'w': it is stored in segments, which is not supported",
            constant(|t| t.segment = Some(vec![].into())),
        ),
        (
            "66 dimensions of a constant",
            "load tensor: tensor 'w': it has 66 dimensions",
            constant(|t| t.dims = vec![1; 66]),
        ),
        (
            "a text that is none",
            "load tensor: tensor 'w': a text of it is not UTF-8",
            constant(|t| {
                (t.data_type, t.raw_data, t.string_data) = (Some(8), None, vec![vec![0xff].into(), "a".into()])
            }),
        ),
        (
            "a sparse constant",
            "load unsupported: it has 1 sparse constants, which are not supported",
            changed(|g| g.sparse_initializer.push(vec![].into())),
        ),
        (
            "data in a file, of bytes",
            "load tensor: tensor 'w': the file that its data lies in is not named",
            constant(|t| (t.raw_data, t.data_location) = (None, Some(1))),
        ),
        (
            "an attribute of no kind",
            "load node: attribute 'alpha' has a type with the unknown number 99",
            attribute(|a| a.r#type = Some(99)),
        ),
        (
            "an attribute of another kind",
            "load node: attribute 'alpha' should be a number",
            attribute(|a| (a.r#type, a.s) = (Some(3), Some("x".into()))),
        ),
        (
            "an attribute without its value",
            "load node: attribute 't' has no value",
            attribute(|a| (a.r#type, a.name) = (Some(4), Some("t".to_owned()))),
        ),
        (
            "a reference to no function",
            "load graph: an attribute refers to 'b' of a function",
            attribute(|a| a.ref_attr_name = Some("b".to_owned())),
        ),
        (
            "a sparse attribute",
            "load node: attribute 'alpha' is a sparse tensor, which is not supported",
            attribute(|a| a.r#type = Some(11)),
        ),
        (
            "an attribute a million long",
            "load limit: the number of parts of the file is 10001, above the limit of",
            attribute(|a| (a.name, a.r#type, a.strings) = (Some("t".to_owned()), Some(8), vec!["".into(); 20_000])),
        ),
        (
            "a thousand and one nodes",
            "load limit: the number of nodes is 1001, above the limit of 1000",
            changed(|g| g.node.extend((0..1000).map(|i| node("Neg", &["x"], &format!("n{i}"), vec![])))),
        ),
        (
            "ten thousand names",
            "load limit: the number of parts of the file is 10001, above the limit of",
            changed(|g| g.node[0].input = vec!["x".to_owned(); 20_000]),
        ),
        (
            "an If bomb",
            "load limit: the nesting of graphs is 9, above the limit of 8",
            changed(|g| {
                g.initializer.push(TensorProto {
                    data_type: Some(9),
                    dims: vec![],
                    int32_data: vec![1],
                    raw_data: None,
                    ..floats("c", &[1])
                });
                g.node = bomb(9).node;
                g.node[0].output[0] = "y".to_owned();
            }),
        ),
        (
            "graphs in graphs",
            "load limit: the nesting of graphs is 9, above the limit of 8",
            changed(|g| {
                let mut body = bomb(0);
                for _ in 0..30 {
                    body = inner(&[], &["b"], vec![node("If", &["c"], "b", vec![graph_in("then_branch", body)])]);
                }
                g.node = body.node;
            }),
        ),
        (
            "a loop without end",
            "run limit: the work of loops' bodies is 4097, above the limit of 4096",
            repeated(i64::MAX, vec![identity()]),
        ),
        (
            "a loop that doubles",
            "run limit: the work of loops' bodies is 4097, above the limit of 4096",
            repeated(i64::MAX, vec![node("Concat", &["v", "v"], "next", vec![int("axis", 0)])]),
        ),
        (
            "a loop that adds without end",
            "run limit: the work of loops' bodies is 4097, above the limit of 4096",
            repeated(i64::MAX, vec![twice()]),
        ),
        ("a loop of no value", "load graph: nothing computes the output 'next'", repeated(3, vec![])),
        (
            "a loop that reads the future",
            "load node: it reads 'after', which nothing defines",
            repeated(3, vec![node("Add", &["v", "after"], "next", vec![])]),
        ),
        ("a function that calls itself", "load node: the function calls itself", function(vec![itself.clone()], 1)),
        (
            "a function that gives nothing",
            "load node: nothing in the function computes 'b'",
            function(vec![node("Neg", &["a"], "c", vec![])], 1),
        ),
        (
            "functions that double",
            "load limit: the number of nodes, those of called functions included is 1001",
            function(vec![node("Neg", &["a"], "b", vec![])], 12),
        ),
        (
            "functions as deep as they double",
            "load node: functions call each other too deep",
            function(vec![node("Neg", &["a"], "b", vec![])], 40),
        ),
    ]
}

#[test]
fn files_that_are_wrong_end_in_their_error() {
    let failed: Vec<String> =
        cases().into_iter().filter_map(|(name, wanted, model)| wrong(name, wanted, || load(&model))).collect();
    assert!(failed.is_empty(), "{} files:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn bytes_that_are_no_model_end_in_their_error() {
    let nested = |depth: usize| {
        (0..depth).fold(vec![], |inside: Vec<u8>, _| {
            let mut outside = vec![0x3a];
            prost::encoding::encode_varint(inside.len() as u64, &mut outside);
            outside.extend(inside);
            outside
        })
    };
    let long = |n: usize| {
        let mut file = vec![0x3a];
        prost::encoding::encode_varint(n as u64 * 2, &mut file);
        file.extend([0x2a, 0].repeat(n));
        file
    };
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("nothing", "load format: it holds no graph", vec![]),
        ("text", "load format: it has a field of the unknown wire type", b"not a model".to_vec()),
        (
            "a picture",
            "load format: it ends in the middle of a field: it is",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
        ),
        ("ones", "load format: it ends in the middle of a field: it is", vec![0xff; 64]),
        (
            "a length beyond the end",
            "load format: it ends in the middle of a field",
            vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        (
            "a length of 2^63",
            "load format: it ends in the middle of a field: it is",
            vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ),
        ("an unknown wire type", "load format: it has a field of the unknown wire type", vec![0x3f, 0]),
        ("a group", "load format: it has a field of the unknown wire type", vec![0x3b, 0x3c]),
        (
            "a thousand empty constants in 2 KB",
            "load limit: the number of parts of the file is 10001, above the limit of",
            long(20_000),
        ),
        (
            "a file above the limit",
            "load limit: the file's size in bytes is 1048577, above the limit of 1048576",
            vec![0; (1 << 20) + 1],
        ),
        ("messages in messages", "load format: its IR version is 0, the oldest supported", nested(3000)),
        ("half a model", "load format: it ends in the middle of a field: it is", {
            let file = of(relu()).encode_to_vec();
            file[..file.len() / 2].to_vec()
        }),
    ];
    let read =
        |(name, wanted, bytes): (&str, &str, Vec<u8>)| wrong(name, wanted, || Model::from_bytes_with(bytes, &limits()));
    let failed: Vec<String> = cases.into_iter().filter_map(read).collect();
    assert!(failed.is_empty(), "{} files:\n{}", failed.len(), failed.join("\n"));
}

/// A model's name, what it ends in, and where its constant is said to lie.
type Elsewhere<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>);

/// A model whose constant lies in this file.
fn written(folder: &Path, entries: &[(&str, &str)]) -> std::path::PathBuf {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let model = constant(|tensor| {
        (tensor.raw_data, tensor.data_location) = (None, Some(1));
        tensor.external_data = entries.iter().map(entry).collect();
    });
    let path = folder.join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

#[test]
fn data_outside_the_folder_ends_in_its_error() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.bin");
    fs::write(&secret, [0; 8]).unwrap();
    let folder = outside.path().join("inner");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("own.bin"), [0; 8]).unwrap();
    let absolute = secret.to_str().unwrap().to_owned();
    let uri = format!("file://{absolute}");
    let mut cases: Vec<Elsewhere> = vec![
        (
            "an absolute path",
            "load tensor: which is not a path inside the model's folder",
            vec![("location", &absolute)],
        ),
        (
            "a path up",
            "load tensor: tensor 'w': its data is said to lie in '../secret.bin', which is not",
            vec![("location", "../secret.bin")],
        ),
        (
            "a path down and up",
            "load tensor: tensor 'w': its data is said to lie in 'a/../../secret.bin', which",
            vec![("location", "a/../../secret.bin")],
        ),
        (
            "a path with backslashes",
            "load tensor: tensor 'w': its data is said to lie in '..\\secret.bin', which is not",
            vec![("location", "..\\secret.bin")],
        ),
        (
            "a device",
            "load tensor: tensor 'w': its data is said to lie in '/dev/zero', which is not a",
            vec![("location", "/dev/zero")],
        ),
        ("an address", "load io: secret.bin", vec![("location", &uri)]),
        ("another address", "load io: w.bin", vec![("location", "https://example.org/w.bin")]),
        ("a command", "load io: $(touch /tmp/x)", vec![("location", "$(touch /tmp/x)")]),
        (
            "no path",
            "load tensor: tensor 'w': its data is said to lie in '', which is not a path",
            vec![("location", "")],
        ),
        ("no location", "load tensor: tensor 'w': the file that its data lies in is not named", vec![("offset", "0")]),
        ("a missing file", "load io: gone.bin", vec![("location", "gone.bin")]),
        ("a zero byte", "load io: own.bin", vec![("location", "own.bin\0")]),
        (
            "an offset beyond the end",
            "load tensor: tensor 'w': its data is said to be 0 bytes from 9 on in 'own.bin'",
            vec![("location", "own.bin"), ("offset", "9")],
        ),
        (
            "an offset that overflows",
            "load tensor: tensor 'w': its data is said to be 8 bytes from 18446744073709551615",
            vec![("location", "own.bin"), ("offset", "18446744073709551615"), ("length", "8")],
        ),
        (
            "a negative offset",
            "load tensor: tensor 'w': its offset '-1' is no size",
            vec![("location", "own.bin"), ("offset", "-1")],
        ),
        (
            "a length beyond the end",
            "load tensor: tensor 'w': its data is said to be 99 bytes from 0 on in 'own.bin'",
            vec![("location", "own.bin"), ("length", "99")],
        ),
        (
            "a length that is too short",
            "load tensor: tensor 'w': its shape [2] of f32 takes 8 bytes, but 'own.bin' holds",
            vec![("location", "own.bin"), ("length", "4")],
        ),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.join("soft.bin")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.join("up")).unwrap();
        std::os::unix::fs::symlink("loop.bin", folder.join("loop.bin")).unwrap();
        fs::hard_link(&secret, folder.join("hard.bin")).unwrap();
        cases.extend([
            (
                "a symbolic link",
                "load tensor: tensor 'w': its data is said to lie in 'soft.bin', which is a link",
                vec![("location", "soft.bin")],
            ),
            (
                "a folder that is a link",
                "load tensor: tensor 'w': its data is said to lie in 'up/secret.bin', which is a",
                vec![("location", "up/secret.bin")],
            ),
            ("a link to itself", "load io: loop.bin", vec![("location", "loop.bin")]),
            (
                "a hard link",
                "load tensor: tensor 'w': its data is said to lie in 'hard.bin', which has other",
                vec![("location", "hard.bin")],
            ),
        ]);
    }
    let read = |(name, wanted, entries): &Elsewhere| {
        let path = written(&folder, entries);
        wrong(name, wanted, || Model::open_with(&path, &limits()))
    };
    let failed: Vec<String> = cases.iter().filter_map(read).collect();
    assert!(failed.is_empty(), "{} files:\n{}", failed.len(), failed.join("\n"));
}

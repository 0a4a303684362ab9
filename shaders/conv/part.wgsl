// The quads of inputs that are added up: from `begin` to before `end`. With SPLIT the samples are counted once for each part of
// `part` quads, a multiple of four, and the sums of the parts are added by conv/join.

#if SPLIT
#param samples: u32
#param part: u32
#endif

struct Part {
    sample: u32,
    begin: u32,
    end: u32,
}

fn part_of_inputs(index: u32, steps: u32) -> Part {
#if SPLIT
    let begin = index / params.samples * params.part;
    return Part(index % params.samples, begin, min(begin + params.part, steps));
#else
    return Part(index, 0u, steps);
#endif
}

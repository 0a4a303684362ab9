// What every kernel leans on, each on numbers that the host knows beforehand; a define for each part that is asked for.
//
//   LOOPS     sums of counted and nested loops that break and continue, and of one that goes round `turns` times
//   BARRIERS  what the invocations of a workgroup tell each other through its memory
//   ATOMICS   the largest number of those who write to one place at a time
//   DOTS      dot products of four 8-bit integers
//   BOUNDS    reads and writes of elements beyond the buffers' ends: they may give or change something inside, and nothing else
//
// Layout  seeds: an integer from 0 to 255 for each invocation. found: a unit for each invocation of what LOOPS find, then of
//         what BARRIERS, DOTS and BOUNDS do, then a unit that whoever writes beyond the end may change.
//         largest: 16 elements, −1 before.
// Work    workgroups of WORKGROUP; one invocation takes one seed.

#param invocations: u32
#param turns: u32
#param beyond: u32      // how many elements beyond the end
#read seeds elements
#update largest atomic
#write found

var<workgroup> told: array<i32, WORKGROUP>;

#if LOOPS
fn counted(n: i32) -> i32 {
    var sum = 0;
    for (var k = 0; k < n; k++) {
        sum += (k ^ n) * 3 - k;
    }
    return sum;
}

fn nested(n: i32) -> i32 {
    var sum = 0;
    for (var a = 0; a < n; a++) {
        for (var b = 0; b < n; b++) {
            if b > a {
                break;
            }
            if ((a + b) & 3) == 1 {
                continue;
            }
            sum += a * 5 - b;
        }
        if sum > 20000 {
            return -sum;
        }
    }
    return sum;
}

fn collatz(seed: i32) -> i32 {
    var n = u32(seed) + 1u;
    var steps = 0;
    while n != 1u {
        if (n & 1u) == 0u {
            n >>= 1u;
        } else {
            n = 3u * n + 1u;
        }
        steps++;
    }
    return steps;
}

fn long(seed: i32) -> i32 {
    var x = u32(seed);
    var turn = 0u;
    loop {
        if turn == params.turns {
            break;
        }
        x = x * 1664525u + 1013904223u;
        continuing {
            turn++;
        }
    }
    return i32(x >> 1u);
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup.x * WORKGROUP + local;
    let seed = get_seeds(i);
#if LOOPS
    store_found(i, vec4<i32>(counted(seed & 63), nested(seed & 31), collatz(seed), long(seed)));
#endif
#if BARRIERS
    told[local] = seed;
    workgroupBarrier();
    let turned = told[WORKGROUP - 1u - local];
    let next = told[(local + 1u) % WORKGROUP];
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half >>= 1u) {
        if local < half {
            told[local] += told[local + half];
        }
        workgroupBarrier();
    }
    let sum = told[0];
    workgroupBarrier();
    if local == WORKGROUP - 1u {
        told[3] = i32(workgroup.x) - seed;
    }
    workgroupBarrier();
    store_found(params.invocations + i, vec4<i32>(turned, next, sum, told[3]));
#endif
#if ATOMICS
    store_largest_largest(u32(seed) & 15u, i32(i));
#endif
#if DOTS
    let a = u32(seed) * 0x01030507u;
    let b = u32(seed + 1) * 0x11d3f7fdu;
    store_found(2u * params.invocations + i, vec4<i32>(dot4I8Packed(a, b), dot4I8Packed(b, b), dot4I8Packed(a, a), 0));
#endif
#if BOUNDS
    // Not known to be wrong until it runs.
    let outside = params.invocations + params.beyond + local;
    store_found(3u * params.invocations + i, vec4<i32>(get_seeds(outside), get_seeds(outside * 2u), 0, 0));
    store_found(4u * params.invocations + 1u + params.beyond + local, vec4<i32>(-7));
#endif
}

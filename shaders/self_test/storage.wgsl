// Numbers stored in 16 and in 32 bits, as every kernel reads and writes them: y = 2 a in 32 bits, z = b / 2 in 16, where a is
// stored in 16 bits and b in 32.
//
// Layout  all: dense.
// Work    one invocation takes one unit of each.

#param units: u32
#read a
#read b
#write y
#write z

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let u = workgroup.x * WORKGROUP + local;
    if u >= params.units {
        return;
    }
    store_y(u, load_a(u) * 2.0);
    store_z(u, load_b(u) * 0.5);
}

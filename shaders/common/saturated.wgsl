// A 64-bit integer (the lower word first) as the nearest 32-bit one: an index that is out of range stays out of range.

fn saturated(w: vec2<u32>) -> i32 {
    let low = bitcast<i32>(w.x);
    let high = bitcast<i32>(w.y);
    return select(select(2147483647, -2147483647 - 1, high < 0), low, high == low >> 31u);
}

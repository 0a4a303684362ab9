// The operands of a product over rows of whole units, how results are finished, and which matrices of a batch there are.

#param m: u32
#param k: u32
#param n4: u32
#if LANES // b in panels, see matmul/subgroup
#param b_panel: u32
#param b_step: u32
#endif
#if BITS // b as small whole numbers
#import matmul/weights
#endif
#read a
#if BIAS == 2
#if BITS
#read b
#else
#read b exact
#endif
#else
#read b
#endif
#if BIAS == 1
#read c
#endif
#if RESIDUAL
#read r
#endif
#write y
#import matmul/finish
#import matmul/batch

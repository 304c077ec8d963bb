"""What the network of this folder computes, recorded by torch.export 2.11.0; `network.py` runs it."""

import torch
from torch import device, inf, nan  # noqa: F401

SIZE = (3, 32, 32)  # of an image: channels, height, width
TENSORS = {
    'conv1.weight': (16, 3, 7, 7),
    'bn1.weight': (16,),
    'bn1.bias': (16,),
    'layer1.0.conv1.weight': (16, 16, 3, 3),
    'layer1.0.bn1.weight': (16,),
    'layer1.0.bn1.bias': (16,),
    'layer1.0.conv2.weight': (16, 16, 3, 3),
    'layer1.0.bn2.weight': (16,),
    'layer1.0.bn2.bias': (16,),
    'layer2.0.conv1.weight': (32, 16, 3, 3),
    'layer2.0.bn1.weight': (32,),
    'layer2.0.bn1.bias': (32,),
    'layer2.0.conv2.weight': (32, 32, 3, 3),
    'layer2.0.bn2.weight': (32,),
    'layer2.0.bn2.bias': (32,),
    'layer2.0.downsample.0.weight': (32, 16, 1, 1),
    'layer2.0.downsample.1.weight': (32,),
    'layer2.0.downsample.1.bias': (32,),
    'layer3.0.conv1.weight': (64, 32, 3, 3),
    'layer3.0.bn1.weight': (64,),
    'layer3.0.bn1.bias': (64,),
    'layer3.0.conv2.weight': (64, 64, 3, 3),
    'layer3.0.bn2.weight': (64,),
    'layer3.0.bn2.bias': (64,),
    'layer3.0.downsample.0.weight': (64, 32, 1, 1),
    'layer3.0.downsample.1.weight': (64,),
    'layer3.0.downsample.1.bias': (64,),
    'layer4.0.conv1.weight': (128, 64, 3, 3),
    'layer4.0.bn1.weight': (128,),
    'layer4.0.bn1.bias': (128,),
    'layer4.0.conv2.weight': (128, 128, 3, 3),
    'layer4.0.bn2.weight': (128,),
    'layer4.0.bn2.bias': (128,),
    'layer4.0.downsample.0.weight': (128, 64, 1, 1),
    'layer4.0.downsample.1.weight': (128,),
    'layer4.0.downsample.1.bias': (128,),
    'fc.weight': (10, 128),
    'fc.bias': (10,),
    'bn1.running_mean': (16,),
    'bn1.running_var': (16,),
    'bn1.num_batches_tracked': (),
    'layer1.0.bn1.running_mean': (16,),
    'layer1.0.bn1.running_var': (16,),
    'layer1.0.bn1.num_batches_tracked': (),
    'layer1.0.bn2.running_mean': (16,),
    'layer1.0.bn2.running_var': (16,),
    'layer1.0.bn2.num_batches_tracked': (),
    'layer2.0.bn1.running_mean': (32,),
    'layer2.0.bn1.running_var': (32,),
    'layer2.0.bn1.num_batches_tracked': (),
    'layer2.0.bn2.running_mean': (32,),
    'layer2.0.bn2.running_var': (32,),
    'layer2.0.bn2.num_batches_tracked': (),
    'layer2.0.downsample.1.running_mean': (32,),
    'layer2.0.downsample.1.running_var': (32,),
    'layer2.0.downsample.1.num_batches_tracked': (),
    'layer3.0.bn1.running_mean': (64,),
    'layer3.0.bn1.running_var': (64,),
    'layer3.0.bn1.num_batches_tracked': (),
    'layer3.0.bn2.running_mean': (64,),
    'layer3.0.bn2.running_var': (64,),
    'layer3.0.bn2.num_batches_tracked': (),
    'layer3.0.downsample.1.running_mean': (64,),
    'layer3.0.downsample.1.running_var': (64,),
    'layer3.0.downsample.1.num_batches_tracked': (),
    'layer4.0.bn1.running_mean': (128,),
    'layer4.0.bn1.running_var': (128,),
    'layer4.0.bn1.num_batches_tracked': (),
    'layer4.0.bn2.running_mean': (128,),
    'layer4.0.bn2.running_var': (128,),
    'layer4.0.bn2.num_batches_tracked': (),
    'layer4.0.downsample.1.running_mean': (128,),
    'layer4.0.downsample.1.running_var': (128,),
    'layer4.0.downsample.1.num_batches_tracked': (),
}


def forward(p_conv1_weight, p_bn1_weight, p_bn1_bias, p_layer1_0_conv1_weight, p_layer1_0_bn1_weight, p_layer1_0_bn1_bias, p_layer1_0_conv2_weight, p_layer1_0_bn2_weight, p_layer1_0_bn2_bias, p_layer2_0_conv1_weight, p_layer2_0_bn1_weight, p_layer2_0_bn1_bias, p_layer2_0_conv2_weight, p_layer2_0_bn2_weight, p_layer2_0_bn2_bias, p_layer2_0_downsample_0_weight, p_layer2_0_downsample_1_weight, p_layer2_0_downsample_1_bias, p_layer3_0_conv1_weight, p_layer3_0_bn1_weight, p_layer3_0_bn1_bias, p_layer3_0_conv2_weight, p_layer3_0_bn2_weight, p_layer3_0_bn2_bias, p_layer3_0_downsample_0_weight, p_layer3_0_downsample_1_weight, p_layer3_0_downsample_1_bias, p_layer4_0_conv1_weight, p_layer4_0_bn1_weight, p_layer4_0_bn1_bias, p_layer4_0_conv2_weight, p_layer4_0_bn2_weight, p_layer4_0_bn2_bias, p_layer4_0_downsample_0_weight, p_layer4_0_downsample_1_weight, p_layer4_0_downsample_1_bias, p_fc_weight, p_fc_bias, b_bn1_running_mean, b_bn1_running_var, b_bn1_num_batches_tracked, b_layer1_0_bn1_running_mean, b_layer1_0_bn1_running_var, b_layer1_0_bn1_num_batches_tracked, b_layer1_0_bn2_running_mean, b_layer1_0_bn2_running_var, b_layer1_0_bn2_num_batches_tracked, b_layer2_0_bn1_running_mean, b_layer2_0_bn1_running_var, b_layer2_0_bn1_num_batches_tracked, b_layer2_0_bn2_running_mean, b_layer2_0_bn2_running_var, b_layer2_0_bn2_num_batches_tracked, b_layer2_0_downsample_1_running_mean, b_layer2_0_downsample_1_running_var, b_layer2_0_downsample_1_num_batches_tracked, b_layer3_0_bn1_running_mean, b_layer3_0_bn1_running_var, b_layer3_0_bn1_num_batches_tracked, b_layer3_0_bn2_running_mean, b_layer3_0_bn2_running_var, b_layer3_0_bn2_num_batches_tracked, b_layer3_0_downsample_1_running_mean, b_layer3_0_downsample_1_running_var, b_layer3_0_downsample_1_num_batches_tracked, b_layer4_0_bn1_running_mean, b_layer4_0_bn1_running_var, b_layer4_0_bn1_num_batches_tracked, b_layer4_0_bn2_running_mean, b_layer4_0_bn2_running_var, b_layer4_0_bn2_num_batches_tracked, b_layer4_0_downsample_1_running_mean, b_layer4_0_downsample_1_running_var, b_layer4_0_downsample_1_num_batches_tracked, x):
    conv2d = torch.ops.aten.conv2d.default(x, p_conv1_weight, None, [1, 1], [3, 3]);  x = p_conv1_weight = None
    batch_norm = torch.ops.aten.batch_norm.default(conv2d, p_bn1_weight, p_bn1_bias, b_bn1_running_mean, b_bn1_running_var, False, 0.1, 1e-05, False);  conv2d = p_bn1_weight = p_bn1_bias = b_bn1_running_mean = b_bn1_running_var = None
    relu_ = torch.ops.aten.relu_.default(batch_norm);  batch_norm = None
    max_pool2d = torch.ops.aten.max_pool2d.default(relu_, [3, 3], [1, 1], [1, 1]);  relu_ = None
    conv2d_1 = torch.ops.aten.conv2d.default(max_pool2d, p_layer1_0_conv1_weight, None, [1, 1], [1, 1]);  p_layer1_0_conv1_weight = None
    batch_norm_1 = torch.ops.aten.batch_norm.default(conv2d_1, p_layer1_0_bn1_weight, p_layer1_0_bn1_bias, b_layer1_0_bn1_running_mean, b_layer1_0_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_1 = p_layer1_0_bn1_weight = p_layer1_0_bn1_bias = b_layer1_0_bn1_running_mean = b_layer1_0_bn1_running_var = None
    relu__1 = torch.ops.aten.relu_.default(batch_norm_1);  batch_norm_1 = None
    conv2d_2 = torch.ops.aten.conv2d.default(relu__1, p_layer1_0_conv2_weight, None, [1, 1], [1, 1]);  relu__1 = p_layer1_0_conv2_weight = None
    batch_norm_2 = torch.ops.aten.batch_norm.default(conv2d_2, p_layer1_0_bn2_weight, p_layer1_0_bn2_bias, b_layer1_0_bn2_running_mean, b_layer1_0_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_2 = p_layer1_0_bn2_weight = p_layer1_0_bn2_bias = b_layer1_0_bn2_running_mean = b_layer1_0_bn2_running_var = None
    add_ = torch.ops.aten.add_.Tensor(batch_norm_2, max_pool2d);  batch_norm_2 = max_pool2d = None
    relu__2 = torch.ops.aten.relu_.default(add_);  add_ = None
    conv2d_3 = torch.ops.aten.conv2d.default(relu__2, p_layer2_0_conv1_weight, None, [2, 2], [1, 1]);  p_layer2_0_conv1_weight = None
    batch_norm_3 = torch.ops.aten.batch_norm.default(conv2d_3, p_layer2_0_bn1_weight, p_layer2_0_bn1_bias, b_layer2_0_bn1_running_mean, b_layer2_0_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_3 = p_layer2_0_bn1_weight = p_layer2_0_bn1_bias = b_layer2_0_bn1_running_mean = b_layer2_0_bn1_running_var = None
    relu__3 = torch.ops.aten.relu_.default(batch_norm_3);  batch_norm_3 = None
    conv2d_4 = torch.ops.aten.conv2d.default(relu__3, p_layer2_0_conv2_weight, None, [1, 1], [1, 1]);  relu__3 = p_layer2_0_conv2_weight = None
    batch_norm_4 = torch.ops.aten.batch_norm.default(conv2d_4, p_layer2_0_bn2_weight, p_layer2_0_bn2_bias, b_layer2_0_bn2_running_mean, b_layer2_0_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_4 = p_layer2_0_bn2_weight = p_layer2_0_bn2_bias = b_layer2_0_bn2_running_mean = b_layer2_0_bn2_running_var = None
    conv2d_5 = torch.ops.aten.conv2d.default(relu__2, p_layer2_0_downsample_0_weight, None, [2, 2]);  relu__2 = p_layer2_0_downsample_0_weight = None
    batch_norm_5 = torch.ops.aten.batch_norm.default(conv2d_5, p_layer2_0_downsample_1_weight, p_layer2_0_downsample_1_bias, b_layer2_0_downsample_1_running_mean, b_layer2_0_downsample_1_running_var, False, 0.1, 1e-05, False);  conv2d_5 = p_layer2_0_downsample_1_weight = p_layer2_0_downsample_1_bias = b_layer2_0_downsample_1_running_mean = b_layer2_0_downsample_1_running_var = None
    add__1 = torch.ops.aten.add_.Tensor(batch_norm_4, batch_norm_5);  batch_norm_4 = batch_norm_5 = None
    relu__4 = torch.ops.aten.relu_.default(add__1);  add__1 = None
    conv2d_6 = torch.ops.aten.conv2d.default(relu__4, p_layer3_0_conv1_weight, None, [2, 2], [1, 1]);  p_layer3_0_conv1_weight = None
    batch_norm_6 = torch.ops.aten.batch_norm.default(conv2d_6, p_layer3_0_bn1_weight, p_layer3_0_bn1_bias, b_layer3_0_bn1_running_mean, b_layer3_0_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_6 = p_layer3_0_bn1_weight = p_layer3_0_bn1_bias = b_layer3_0_bn1_running_mean = b_layer3_0_bn1_running_var = None
    relu__5 = torch.ops.aten.relu_.default(batch_norm_6);  batch_norm_6 = None
    conv2d_7 = torch.ops.aten.conv2d.default(relu__5, p_layer3_0_conv2_weight, None, [1, 1], [1, 1]);  relu__5 = p_layer3_0_conv2_weight = None
    batch_norm_7 = torch.ops.aten.batch_norm.default(conv2d_7, p_layer3_0_bn2_weight, p_layer3_0_bn2_bias, b_layer3_0_bn2_running_mean, b_layer3_0_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_7 = p_layer3_0_bn2_weight = p_layer3_0_bn2_bias = b_layer3_0_bn2_running_mean = b_layer3_0_bn2_running_var = None
    conv2d_8 = torch.ops.aten.conv2d.default(relu__4, p_layer3_0_downsample_0_weight, None, [2, 2]);  relu__4 = p_layer3_0_downsample_0_weight = None
    batch_norm_8 = torch.ops.aten.batch_norm.default(conv2d_8, p_layer3_0_downsample_1_weight, p_layer3_0_downsample_1_bias, b_layer3_0_downsample_1_running_mean, b_layer3_0_downsample_1_running_var, False, 0.1, 1e-05, False);  conv2d_8 = p_layer3_0_downsample_1_weight = p_layer3_0_downsample_1_bias = b_layer3_0_downsample_1_running_mean = b_layer3_0_downsample_1_running_var = None
    add__2 = torch.ops.aten.add_.Tensor(batch_norm_7, batch_norm_8);  batch_norm_7 = batch_norm_8 = None
    relu__6 = torch.ops.aten.relu_.default(add__2);  add__2 = None
    conv2d_9 = torch.ops.aten.conv2d.default(relu__6, p_layer4_0_conv1_weight, None, [2, 2], [1, 1]);  p_layer4_0_conv1_weight = None
    batch_norm_9 = torch.ops.aten.batch_norm.default(conv2d_9, p_layer4_0_bn1_weight, p_layer4_0_bn1_bias, b_layer4_0_bn1_running_mean, b_layer4_0_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_9 = p_layer4_0_bn1_weight = p_layer4_0_bn1_bias = b_layer4_0_bn1_running_mean = b_layer4_0_bn1_running_var = None
    relu__7 = torch.ops.aten.relu_.default(batch_norm_9);  batch_norm_9 = None
    conv2d_10 = torch.ops.aten.conv2d.default(relu__7, p_layer4_0_conv2_weight, None, [1, 1], [1, 1]);  relu__7 = p_layer4_0_conv2_weight = None
    batch_norm_10 = torch.ops.aten.batch_norm.default(conv2d_10, p_layer4_0_bn2_weight, p_layer4_0_bn2_bias, b_layer4_0_bn2_running_mean, b_layer4_0_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_10 = p_layer4_0_bn2_weight = p_layer4_0_bn2_bias = b_layer4_0_bn2_running_mean = b_layer4_0_bn2_running_var = None
    conv2d_11 = torch.ops.aten.conv2d.default(relu__6, p_layer4_0_downsample_0_weight, None, [2, 2]);  relu__6 = p_layer4_0_downsample_0_weight = None
    batch_norm_11 = torch.ops.aten.batch_norm.default(conv2d_11, p_layer4_0_downsample_1_weight, p_layer4_0_downsample_1_bias, b_layer4_0_downsample_1_running_mean, b_layer4_0_downsample_1_running_var, False, 0.1, 1e-05, False);  conv2d_11 = p_layer4_0_downsample_1_weight = p_layer4_0_downsample_1_bias = b_layer4_0_downsample_1_running_mean = b_layer4_0_downsample_1_running_var = None
    add__3 = torch.ops.aten.add_.Tensor(batch_norm_10, batch_norm_11);  batch_norm_10 = batch_norm_11 = None
    relu__8 = torch.ops.aten.relu_.default(add__3);  add__3 = None
    adaptive_avg_pool2d = torch.ops.aten.adaptive_avg_pool2d.default(relu__8, [1, 1]);  relu__8 = None
    flatten = torch.ops.aten.flatten.using_ints(adaptive_avg_pool2d, 1);  adaptive_avg_pool2d = None
    linear = torch.ops.aten.linear.default(flatten, p_fc_weight, p_fc_bias);  flatten = p_fc_weight = p_fc_bias = None
    return linear

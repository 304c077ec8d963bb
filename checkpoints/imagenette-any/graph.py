"""What the network of this folder computes, recorded by torch.export 2.11.0; `network.py` runs it."""

import torch
from torch import device, inf, nan  # noqa: F401

SIZE = (3, 64, 64)  # of an image: channels, height, width
TENSORS = {
    'conv1.layer.weight': (16, 3, 7, 7),
    'conv1.red_out.gate.0.weight': (16, 16, 1, 1),
    'conv1.red_out.gate.1.weight': (16,),
    'conv1.red_out.gate.1.bias': (16,),
    'conv1.red_out.residual_encoder.0.weight': (16, 16, 3, 3),
    'conv1.red_out.residual_encoder.1.weight': (16,),
    'conv1.red_out.residual_encoder.1.bias': (16,),
    'bn1.weight': (16,),
    'bn1.bias': (16,),
    'maxpool.red_in.gate.0.weight': (16, 16, 1, 1),
    'maxpool.red_in.gate.1.weight': (16,),
    'maxpool.red_in.gate.1.bias': (16,),
    'maxpool.red_in.residual_encoder.0.weight': (16, 16, 3, 3),
    'maxpool.red_in.residual_encoder.1.weight': (16,),
    'maxpool.red_in.residual_encoder.1.bias': (16,),
    'maxpool.red_out.gate.0.weight': (16, 16, 1, 1),
    'maxpool.red_out.gate.1.weight': (16,),
    'maxpool.red_out.gate.1.bias': (16,),
    'maxpool.red_out.residual_encoder.0.weight': (16, 16, 3, 3),
    'maxpool.red_out.residual_encoder.1.weight': (16,),
    'maxpool.red_out.residual_encoder.1.bias': (16,),
    'layer1.0.conv1.weight': (16, 16, 3, 3),
    'layer1.0.bn1.weight': (16,),
    'layer1.0.bn1.bias': (16,),
    'layer1.0.conv2.weight': (16, 16, 3, 3),
    'layer1.0.bn2.weight': (16,),
    'layer1.0.bn2.bias': (16,),
    'layer2.0.red_in.gate.0.weight': (16, 16, 1, 1),
    'layer2.0.red_in.gate.1.weight': (16,),
    'layer2.0.red_in.gate.1.bias': (16,),
    'layer2.0.red_in.residual_encoder.0.weight': (16, 16, 3, 3),
    'layer2.0.red_in.residual_encoder.1.weight': (16,),
    'layer2.0.red_in.residual_encoder.1.bias': (16,),
    'layer2.0.layer.conv1.weight': (32, 16, 3, 3),
    'layer2.0.layer.bn1.weight': (32,),
    'layer2.0.layer.bn1.bias': (32,),
    'layer2.0.layer.conv2.weight': (32, 32, 3, 3),
    'layer2.0.layer.bn2.weight': (32,),
    'layer2.0.layer.bn2.bias': (32,),
    'layer2.0.layer.downsample.0.weight': (32, 16, 1, 1),
    'layer2.0.layer.downsample.1.weight': (32,),
    'layer2.0.layer.downsample.1.bias': (32,),
    'layer2.0.red_out.gate.0.weight': (32, 32, 1, 1),
    'layer2.0.red_out.gate.1.weight': (32,),
    'layer2.0.red_out.gate.1.bias': (32,),
    'layer2.0.red_out.residual_encoder.0.weight': (32, 32, 3, 3),
    'layer2.0.red_out.residual_encoder.1.weight': (32,),
    'layer2.0.red_out.residual_encoder.1.bias': (32,),
    'layer3.0.red_in.gate.0.weight': (32, 32, 1, 1),
    'layer3.0.red_in.gate.1.weight': (32,),
    'layer3.0.red_in.gate.1.bias': (32,),
    'layer3.0.red_in.residual_encoder.0.weight': (32, 32, 3, 3),
    'layer3.0.red_in.residual_encoder.1.weight': (32,),
    'layer3.0.red_in.residual_encoder.1.bias': (32,),
    'layer3.0.layer.conv1.weight': (64, 32, 3, 3),
    'layer3.0.layer.bn1.weight': (64,),
    'layer3.0.layer.bn1.bias': (64,),
    'layer3.0.layer.conv2.weight': (64, 64, 3, 3),
    'layer3.0.layer.bn2.weight': (64,),
    'layer3.0.layer.bn2.bias': (64,),
    'layer3.0.layer.downsample.0.weight': (64, 32, 1, 1),
    'layer3.0.layer.downsample.1.weight': (64,),
    'layer3.0.layer.downsample.1.bias': (64,),
    'layer3.0.red_out.gate.0.weight': (64, 64, 1, 1),
    'layer3.0.red_out.gate.1.weight': (64,),
    'layer3.0.red_out.gate.1.bias': (64,),
    'layer3.0.red_out.residual_encoder.0.weight': (64, 64, 3, 3),
    'layer3.0.red_out.residual_encoder.1.weight': (64,),
    'layer3.0.red_out.residual_encoder.1.bias': (64,),
    'layer4.0.red_in.gate.0.weight': (64, 64, 1, 1),
    'layer4.0.red_in.gate.1.weight': (64,),
    'layer4.0.red_in.gate.1.bias': (64,),
    'layer4.0.red_in.residual_encoder.0.weight': (64, 64, 3, 3),
    'layer4.0.red_in.residual_encoder.1.weight': (64,),
    'layer4.0.red_in.residual_encoder.1.bias': (64,),
    'layer4.0.layer.conv1.weight': (128, 64, 3, 3),
    'layer4.0.layer.bn1.weight': (128,),
    'layer4.0.layer.bn1.bias': (128,),
    'layer4.0.layer.conv2.weight': (128, 128, 3, 3),
    'layer4.0.layer.bn2.weight': (128,),
    'layer4.0.layer.bn2.bias': (128,),
    'layer4.0.layer.downsample.0.weight': (128, 64, 1, 1),
    'layer4.0.layer.downsample.1.weight': (128,),
    'layer4.0.layer.downsample.1.bias': (128,),
    'layer4.0.red_out.gate.0.weight': (128, 128, 1, 1),
    'layer4.0.red_out.gate.1.weight': (128,),
    'layer4.0.red_out.gate.1.bias': (128,),
    'layer4.0.red_out.residual_encoder.0.weight': (128, 128, 3, 3),
    'layer4.0.red_out.residual_encoder.1.weight': (128,),
    'layer4.0.red_out.residual_encoder.1.bias': (128,),
    'fc.weight': (10, 128),
    'fc.bias': (10,),
    'conv1.red_out.gate.1.running_mean': (16,),
    'conv1.red_out.gate.1.running_var': (16,),
    'conv1.red_out.gate.1.num_batches_tracked': (),
    'conv1.red_out.residual_encoder.1.running_mean': (16,),
    'conv1.red_out.residual_encoder.1.running_var': (16,),
    'conv1.red_out.residual_encoder.1.num_batches_tracked': (),
    'bn1.running_mean': (16,),
    'bn1.running_var': (16,),
    'bn1.num_batches_tracked': (),
    'maxpool.red_in.gate.1.running_mean': (16,),
    'maxpool.red_in.gate.1.running_var': (16,),
    'maxpool.red_in.gate.1.num_batches_tracked': (),
    'maxpool.red_in.residual_encoder.1.running_mean': (16,),
    'maxpool.red_in.residual_encoder.1.running_var': (16,),
    'maxpool.red_in.residual_encoder.1.num_batches_tracked': (),
    'maxpool.red_out.gate.1.running_mean': (16,),
    'maxpool.red_out.gate.1.running_var': (16,),
    'maxpool.red_out.gate.1.num_batches_tracked': (),
    'maxpool.red_out.residual_encoder.1.running_mean': (16,),
    'maxpool.red_out.residual_encoder.1.running_var': (16,),
    'maxpool.red_out.residual_encoder.1.num_batches_tracked': (),
    'layer1.0.bn1.running_mean': (16,),
    'layer1.0.bn1.running_var': (16,),
    'layer1.0.bn1.num_batches_tracked': (),
    'layer1.0.bn2.running_mean': (16,),
    'layer1.0.bn2.running_var': (16,),
    'layer1.0.bn2.num_batches_tracked': (),
    'layer2.0.red_in.gate.1.running_mean': (16,),
    'layer2.0.red_in.gate.1.running_var': (16,),
    'layer2.0.red_in.gate.1.num_batches_tracked': (),
    'layer2.0.red_in.residual_encoder.1.running_mean': (16,),
    'layer2.0.red_in.residual_encoder.1.running_var': (16,),
    'layer2.0.red_in.residual_encoder.1.num_batches_tracked': (),
    'layer2.0.layer.bn1.running_mean': (32,),
    'layer2.0.layer.bn1.running_var': (32,),
    'layer2.0.layer.bn1.num_batches_tracked': (),
    'layer2.0.layer.bn2.running_mean': (32,),
    'layer2.0.layer.bn2.running_var': (32,),
    'layer2.0.layer.bn2.num_batches_tracked': (),
    'layer2.0.layer.downsample.1.running_mean': (32,),
    'layer2.0.layer.downsample.1.running_var': (32,),
    'layer2.0.layer.downsample.1.num_batches_tracked': (),
    'layer2.0.red_out.gate.1.running_mean': (32,),
    'layer2.0.red_out.gate.1.running_var': (32,),
    'layer2.0.red_out.gate.1.num_batches_tracked': (),
    'layer2.0.red_out.residual_encoder.1.running_mean': (32,),
    'layer2.0.red_out.residual_encoder.1.running_var': (32,),
    'layer2.0.red_out.residual_encoder.1.num_batches_tracked': (),
    'layer3.0.red_in.gate.1.running_mean': (32,),
    'layer3.0.red_in.gate.1.running_var': (32,),
    'layer3.0.red_in.gate.1.num_batches_tracked': (),
    'layer3.0.red_in.residual_encoder.1.running_mean': (32,),
    'layer3.0.red_in.residual_encoder.1.running_var': (32,),
    'layer3.0.red_in.residual_encoder.1.num_batches_tracked': (),
    'layer3.0.layer.bn1.running_mean': (64,),
    'layer3.0.layer.bn1.running_var': (64,),
    'layer3.0.layer.bn1.num_batches_tracked': (),
    'layer3.0.layer.bn2.running_mean': (64,),
    'layer3.0.layer.bn2.running_var': (64,),
    'layer3.0.layer.bn2.num_batches_tracked': (),
    'layer3.0.layer.downsample.1.running_mean': (64,),
    'layer3.0.layer.downsample.1.running_var': (64,),
    'layer3.0.layer.downsample.1.num_batches_tracked': (),
    'layer3.0.red_out.gate.1.running_mean': (64,),
    'layer3.0.red_out.gate.1.running_var': (64,),
    'layer3.0.red_out.gate.1.num_batches_tracked': (),
    'layer3.0.red_out.residual_encoder.1.running_mean': (64,),
    'layer3.0.red_out.residual_encoder.1.running_var': (64,),
    'layer3.0.red_out.residual_encoder.1.num_batches_tracked': (),
    'layer4.0.red_in.gate.1.running_mean': (64,),
    'layer4.0.red_in.gate.1.running_var': (64,),
    'layer4.0.red_in.gate.1.num_batches_tracked': (),
    'layer4.0.red_in.residual_encoder.1.running_mean': (64,),
    'layer4.0.red_in.residual_encoder.1.running_var': (64,),
    'layer4.0.red_in.residual_encoder.1.num_batches_tracked': (),
    'layer4.0.layer.bn1.running_mean': (128,),
    'layer4.0.layer.bn1.running_var': (128,),
    'layer4.0.layer.bn1.num_batches_tracked': (),
    'layer4.0.layer.bn2.running_mean': (128,),
    'layer4.0.layer.bn2.running_var': (128,),
    'layer4.0.layer.bn2.num_batches_tracked': (),
    'layer4.0.layer.downsample.1.running_mean': (128,),
    'layer4.0.layer.downsample.1.running_var': (128,),
    'layer4.0.layer.downsample.1.num_batches_tracked': (),
    'layer4.0.red_out.gate.1.running_mean': (128,),
    'layer4.0.red_out.gate.1.running_var': (128,),
    'layer4.0.red_out.gate.1.num_batches_tracked': (),
    'layer4.0.red_out.residual_encoder.1.running_mean': (128,),
    'layer4.0.red_out.residual_encoder.1.running_var': (128,),
    'layer4.0.red_out.residual_encoder.1.num_batches_tracked': (),
}


def forward(p_conv1_layer_weight, p_conv1_red_out_gate_0_weight, p_conv1_red_out_gate_1_weight, p_conv1_red_out_gate_1_bias, p_conv1_red_out_residual_encoder_0_weight, p_conv1_red_out_residual_encoder_1_weight, p_conv1_red_out_residual_encoder_1_bias, p_bn1_weight, p_bn1_bias, p_maxpool_red_in_gate_0_weight, p_maxpool_red_in_gate_1_weight, p_maxpool_red_in_gate_1_bias, p_maxpool_red_in_residual_encoder_0_weight, p_maxpool_red_in_residual_encoder_1_weight, p_maxpool_red_in_residual_encoder_1_bias, p_maxpool_red_out_gate_0_weight, p_maxpool_red_out_gate_1_weight, p_maxpool_red_out_gate_1_bias, p_maxpool_red_out_residual_encoder_0_weight, p_maxpool_red_out_residual_encoder_1_weight, p_maxpool_red_out_residual_encoder_1_bias, p_layer1_0_conv1_weight, p_layer1_0_bn1_weight, p_layer1_0_bn1_bias, p_layer1_0_conv2_weight, p_layer1_0_bn2_weight, p_layer1_0_bn2_bias, p_layer2_0_red_in_gate_0_weight, p_layer2_0_red_in_gate_1_weight, p_layer2_0_red_in_gate_1_bias, p_layer2_0_red_in_residual_encoder_0_weight, p_layer2_0_red_in_residual_encoder_1_weight, p_layer2_0_red_in_residual_encoder_1_bias, p_layer2_0_layer_conv1_weight, p_layer2_0_layer_bn1_weight, p_layer2_0_layer_bn1_bias, p_layer2_0_layer_conv2_weight, p_layer2_0_layer_bn2_weight, p_layer2_0_layer_bn2_bias, p_layer2_0_layer_downsample_0_weight, p_layer2_0_layer_downsample_1_weight, p_layer2_0_layer_downsample_1_bias, p_layer2_0_red_out_gate_0_weight, p_layer2_0_red_out_gate_1_weight, p_layer2_0_red_out_gate_1_bias, p_layer2_0_red_out_residual_encoder_0_weight, p_layer2_0_red_out_residual_encoder_1_weight, p_layer2_0_red_out_residual_encoder_1_bias, p_layer3_0_red_in_gate_0_weight, p_layer3_0_red_in_gate_1_weight, p_layer3_0_red_in_gate_1_bias, p_layer3_0_red_in_residual_encoder_0_weight, p_layer3_0_red_in_residual_encoder_1_weight, p_layer3_0_red_in_residual_encoder_1_bias, p_layer3_0_layer_conv1_weight, p_layer3_0_layer_bn1_weight, p_layer3_0_layer_bn1_bias, p_layer3_0_layer_conv2_weight, p_layer3_0_layer_bn2_weight, p_layer3_0_layer_bn2_bias, p_layer3_0_layer_downsample_0_weight, p_layer3_0_layer_downsample_1_weight, p_layer3_0_layer_downsample_1_bias, p_layer3_0_red_out_gate_0_weight, p_layer3_0_red_out_gate_1_weight, p_layer3_0_red_out_gate_1_bias, p_layer3_0_red_out_residual_encoder_0_weight, p_layer3_0_red_out_residual_encoder_1_weight, p_layer3_0_red_out_residual_encoder_1_bias, p_layer4_0_red_in_gate_0_weight, p_layer4_0_red_in_gate_1_weight, p_layer4_0_red_in_gate_1_bias, p_layer4_0_red_in_residual_encoder_0_weight, p_layer4_0_red_in_residual_encoder_1_weight, p_layer4_0_red_in_residual_encoder_1_bias, p_layer4_0_layer_conv1_weight, p_layer4_0_layer_bn1_weight, p_layer4_0_layer_bn1_bias, p_layer4_0_layer_conv2_weight, p_layer4_0_layer_bn2_weight, p_layer4_0_layer_bn2_bias, p_layer4_0_layer_downsample_0_weight, p_layer4_0_layer_downsample_1_weight, p_layer4_0_layer_downsample_1_bias, p_layer4_0_red_out_gate_0_weight, p_layer4_0_red_out_gate_1_weight, p_layer4_0_red_out_gate_1_bias, p_layer4_0_red_out_residual_encoder_0_weight, p_layer4_0_red_out_residual_encoder_1_weight, p_layer4_0_red_out_residual_encoder_1_bias, p_fc_weight, p_fc_bias, b_conv1_red_out_gate_1_running_mean, b_conv1_red_out_gate_1_running_var, b_conv1_red_out_gate_1_num_batches_tracked, b_conv1_red_out_residual_encoder_1_running_mean, b_conv1_red_out_residual_encoder_1_running_var, b_conv1_red_out_residual_encoder_1_num_batches_tracked, b_bn1_running_mean, b_bn1_running_var, b_bn1_num_batches_tracked, b_maxpool_red_in_gate_1_running_mean, b_maxpool_red_in_gate_1_running_var, b_maxpool_red_in_gate_1_num_batches_tracked, b_maxpool_red_in_residual_encoder_1_running_mean, b_maxpool_red_in_residual_encoder_1_running_var, b_maxpool_red_in_residual_encoder_1_num_batches_tracked, b_maxpool_red_out_gate_1_running_mean, b_maxpool_red_out_gate_1_running_var, b_maxpool_red_out_gate_1_num_batches_tracked, b_maxpool_red_out_residual_encoder_1_running_mean, b_maxpool_red_out_residual_encoder_1_running_var, b_maxpool_red_out_residual_encoder_1_num_batches_tracked, b_layer1_0_bn1_running_mean, b_layer1_0_bn1_running_var, b_layer1_0_bn1_num_batches_tracked, b_layer1_0_bn2_running_mean, b_layer1_0_bn2_running_var, b_layer1_0_bn2_num_batches_tracked, b_layer2_0_red_in_gate_1_running_mean, b_layer2_0_red_in_gate_1_running_var, b_layer2_0_red_in_gate_1_num_batches_tracked, b_layer2_0_red_in_residual_encoder_1_running_mean, b_layer2_0_red_in_residual_encoder_1_running_var, b_layer2_0_red_in_residual_encoder_1_num_batches_tracked, b_layer2_0_layer_bn1_running_mean, b_layer2_0_layer_bn1_running_var, b_layer2_0_layer_bn1_num_batches_tracked, b_layer2_0_layer_bn2_running_mean, b_layer2_0_layer_bn2_running_var, b_layer2_0_layer_bn2_num_batches_tracked, b_layer2_0_layer_downsample_1_running_mean, b_layer2_0_layer_downsample_1_running_var, b_layer2_0_layer_downsample_1_num_batches_tracked, b_layer2_0_red_out_gate_1_running_mean, b_layer2_0_red_out_gate_1_running_var, b_layer2_0_red_out_gate_1_num_batches_tracked, b_layer2_0_red_out_residual_encoder_1_running_mean, b_layer2_0_red_out_residual_encoder_1_running_var, b_layer2_0_red_out_residual_encoder_1_num_batches_tracked, b_layer3_0_red_in_gate_1_running_mean, b_layer3_0_red_in_gate_1_running_var, b_layer3_0_red_in_gate_1_num_batches_tracked, b_layer3_0_red_in_residual_encoder_1_running_mean, b_layer3_0_red_in_residual_encoder_1_running_var, b_layer3_0_red_in_residual_encoder_1_num_batches_tracked, b_layer3_0_layer_bn1_running_mean, b_layer3_0_layer_bn1_running_var, b_layer3_0_layer_bn1_num_batches_tracked, b_layer3_0_layer_bn2_running_mean, b_layer3_0_layer_bn2_running_var, b_layer3_0_layer_bn2_num_batches_tracked, b_layer3_0_layer_downsample_1_running_mean, b_layer3_0_layer_downsample_1_running_var, b_layer3_0_layer_downsample_1_num_batches_tracked, b_layer3_0_red_out_gate_1_running_mean, b_layer3_0_red_out_gate_1_running_var, b_layer3_0_red_out_gate_1_num_batches_tracked, b_layer3_0_red_out_residual_encoder_1_running_mean, b_layer3_0_red_out_residual_encoder_1_running_var, b_layer3_0_red_out_residual_encoder_1_num_batches_tracked, b_layer4_0_red_in_gate_1_running_mean, b_layer4_0_red_in_gate_1_running_var, b_layer4_0_red_in_gate_1_num_batches_tracked, b_layer4_0_red_in_residual_encoder_1_running_mean, b_layer4_0_red_in_residual_encoder_1_running_var, b_layer4_0_red_in_residual_encoder_1_num_batches_tracked, b_layer4_0_layer_bn1_running_mean, b_layer4_0_layer_bn1_running_var, b_layer4_0_layer_bn1_num_batches_tracked, b_layer4_0_layer_bn2_running_mean, b_layer4_0_layer_bn2_running_var, b_layer4_0_layer_bn2_num_batches_tracked, b_layer4_0_layer_downsample_1_running_mean, b_layer4_0_layer_downsample_1_running_var, b_layer4_0_layer_downsample_1_num_batches_tracked, b_layer4_0_red_out_gate_1_running_mean, b_layer4_0_red_out_gate_1_running_var, b_layer4_0_red_out_gate_1_num_batches_tracked, b_layer4_0_red_out_residual_encoder_1_running_mean, b_layer4_0_red_out_residual_encoder_1_running_var, b_layer4_0_red_out_residual_encoder_1_num_batches_tracked, x):
    conv2d = torch.ops.aten.conv2d.default(x, p_conv1_layer_weight, None, [4, 4], [3, 3]);  x = p_conv1_layer_weight = None
    conv2d_1 = torch.ops.aten.conv2d.default(conv2d, p_conv1_red_out_gate_0_weight);  p_conv1_red_out_gate_0_weight = None
    batch_norm = torch.ops.aten.batch_norm.default(conv2d_1, p_conv1_red_out_gate_1_weight, p_conv1_red_out_gate_1_bias, b_conv1_red_out_gate_1_running_mean, b_conv1_red_out_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_1 = p_conv1_red_out_gate_1_weight = p_conv1_red_out_gate_1_bias = b_conv1_red_out_gate_1_running_mean = b_conv1_red_out_gate_1_running_var = None
    sigmoid = torch.ops.aten.sigmoid.default(batch_norm);  batch_norm = None
    mul = torch.ops.aten.mul.Tensor(sigmoid, conv2d);  sigmoid = None
    conv2d_2 = torch.ops.aten.conv2d.default(conv2d, p_conv1_red_out_residual_encoder_0_weight, None, [1, 1], [1, 1]);  conv2d = p_conv1_red_out_residual_encoder_0_weight = None
    batch_norm_1 = torch.ops.aten.batch_norm.default(conv2d_2, p_conv1_red_out_residual_encoder_1_weight, p_conv1_red_out_residual_encoder_1_bias, b_conv1_red_out_residual_encoder_1_running_mean, b_conv1_red_out_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_2 = p_conv1_red_out_residual_encoder_1_weight = p_conv1_red_out_residual_encoder_1_bias = b_conv1_red_out_residual_encoder_1_running_mean = b_conv1_red_out_residual_encoder_1_running_var = None
    relu6 = torch.ops.aten.relu6.default(batch_norm_1);  batch_norm_1 = None
    add = torch.ops.aten.add.Tensor(mul, relu6);  mul = relu6 = None
    batch_norm_2 = torch.ops.aten.batch_norm.default(add, p_bn1_weight, p_bn1_bias, b_bn1_running_mean, b_bn1_running_var, False, 0.1, 1e-05, False);  add = p_bn1_weight = p_bn1_bias = b_bn1_running_mean = b_bn1_running_var = None
    relu_ = torch.ops.aten.relu_.default(batch_norm_2);  batch_norm_2 = None
    conv2d_3 = torch.ops.aten.conv2d.default(relu_, p_maxpool_red_in_gate_0_weight);  p_maxpool_red_in_gate_0_weight = None
    batch_norm_3 = torch.ops.aten.batch_norm.default(conv2d_3, p_maxpool_red_in_gate_1_weight, p_maxpool_red_in_gate_1_bias, b_maxpool_red_in_gate_1_running_mean, b_maxpool_red_in_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_3 = p_maxpool_red_in_gate_1_weight = p_maxpool_red_in_gate_1_bias = b_maxpool_red_in_gate_1_running_mean = b_maxpool_red_in_gate_1_running_var = None
    sigmoid_1 = torch.ops.aten.sigmoid.default(batch_norm_3);  batch_norm_3 = None
    mul_1 = torch.ops.aten.mul.Tensor(sigmoid_1, relu_);  sigmoid_1 = None
    conv2d_4 = torch.ops.aten.conv2d.default(relu_, p_maxpool_red_in_residual_encoder_0_weight, None, [1, 1], [1, 1]);  relu_ = p_maxpool_red_in_residual_encoder_0_weight = None
    batch_norm_4 = torch.ops.aten.batch_norm.default(conv2d_4, p_maxpool_red_in_residual_encoder_1_weight, p_maxpool_red_in_residual_encoder_1_bias, b_maxpool_red_in_residual_encoder_1_running_mean, b_maxpool_red_in_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_4 = p_maxpool_red_in_residual_encoder_1_weight = p_maxpool_red_in_residual_encoder_1_bias = b_maxpool_red_in_residual_encoder_1_running_mean = b_maxpool_red_in_residual_encoder_1_running_var = None
    relu6_1 = torch.ops.aten.relu6.default(batch_norm_4);  batch_norm_4 = None
    add_1 = torch.ops.aten.add.Tensor(mul_1, relu6_1);  mul_1 = relu6_1 = None
    max_pool2d = torch.ops.aten.max_pool2d.default(add_1, [3, 3], [1, 1], [1, 1]);  add_1 = None
    conv2d_5 = torch.ops.aten.conv2d.default(max_pool2d, p_maxpool_red_out_gate_0_weight);  p_maxpool_red_out_gate_0_weight = None
    batch_norm_5 = torch.ops.aten.batch_norm.default(conv2d_5, p_maxpool_red_out_gate_1_weight, p_maxpool_red_out_gate_1_bias, b_maxpool_red_out_gate_1_running_mean, b_maxpool_red_out_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_5 = p_maxpool_red_out_gate_1_weight = p_maxpool_red_out_gate_1_bias = b_maxpool_red_out_gate_1_running_mean = b_maxpool_red_out_gate_1_running_var = None
    sigmoid_2 = torch.ops.aten.sigmoid.default(batch_norm_5);  batch_norm_5 = None
    mul_2 = torch.ops.aten.mul.Tensor(sigmoid_2, max_pool2d);  sigmoid_2 = None
    conv2d_6 = torch.ops.aten.conv2d.default(max_pool2d, p_maxpool_red_out_residual_encoder_0_weight, None, [1, 1], [1, 1]);  max_pool2d = p_maxpool_red_out_residual_encoder_0_weight = None
    batch_norm_6 = torch.ops.aten.batch_norm.default(conv2d_6, p_maxpool_red_out_residual_encoder_1_weight, p_maxpool_red_out_residual_encoder_1_bias, b_maxpool_red_out_residual_encoder_1_running_mean, b_maxpool_red_out_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_6 = p_maxpool_red_out_residual_encoder_1_weight = p_maxpool_red_out_residual_encoder_1_bias = b_maxpool_red_out_residual_encoder_1_running_mean = b_maxpool_red_out_residual_encoder_1_running_var = None
    relu6_2 = torch.ops.aten.relu6.default(batch_norm_6);  batch_norm_6 = None
    add_2 = torch.ops.aten.add.Tensor(mul_2, relu6_2);  mul_2 = relu6_2 = None
    conv2d_7 = torch.ops.aten.conv2d.default(add_2, p_layer1_0_conv1_weight, None, [1, 1], [1, 1]);  p_layer1_0_conv1_weight = None
    batch_norm_7 = torch.ops.aten.batch_norm.default(conv2d_7, p_layer1_0_bn1_weight, p_layer1_0_bn1_bias, b_layer1_0_bn1_running_mean, b_layer1_0_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_7 = p_layer1_0_bn1_weight = p_layer1_0_bn1_bias = b_layer1_0_bn1_running_mean = b_layer1_0_bn1_running_var = None
    relu__1 = torch.ops.aten.relu_.default(batch_norm_7);  batch_norm_7 = None
    conv2d_8 = torch.ops.aten.conv2d.default(relu__1, p_layer1_0_conv2_weight, None, [1, 1], [1, 1]);  relu__1 = p_layer1_0_conv2_weight = None
    batch_norm_8 = torch.ops.aten.batch_norm.default(conv2d_8, p_layer1_0_bn2_weight, p_layer1_0_bn2_bias, b_layer1_0_bn2_running_mean, b_layer1_0_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_8 = p_layer1_0_bn2_weight = p_layer1_0_bn2_bias = b_layer1_0_bn2_running_mean = b_layer1_0_bn2_running_var = None
    add_ = torch.ops.aten.add_.Tensor(batch_norm_8, add_2);  batch_norm_8 = add_2 = None
    relu__2 = torch.ops.aten.relu_.default(add_);  add_ = None
    conv2d_9 = torch.ops.aten.conv2d.default(relu__2, p_layer2_0_red_in_gate_0_weight);  p_layer2_0_red_in_gate_0_weight = None
    batch_norm_9 = torch.ops.aten.batch_norm.default(conv2d_9, p_layer2_0_red_in_gate_1_weight, p_layer2_0_red_in_gate_1_bias, b_layer2_0_red_in_gate_1_running_mean, b_layer2_0_red_in_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_9 = p_layer2_0_red_in_gate_1_weight = p_layer2_0_red_in_gate_1_bias = b_layer2_0_red_in_gate_1_running_mean = b_layer2_0_red_in_gate_1_running_var = None
    sigmoid_3 = torch.ops.aten.sigmoid.default(batch_norm_9);  batch_norm_9 = None
    mul_3 = torch.ops.aten.mul.Tensor(sigmoid_3, relu__2);  sigmoid_3 = None
    conv2d_10 = torch.ops.aten.conv2d.default(relu__2, p_layer2_0_red_in_residual_encoder_0_weight, None, [1, 1], [1, 1]);  relu__2 = p_layer2_0_red_in_residual_encoder_0_weight = None
    batch_norm_10 = torch.ops.aten.batch_norm.default(conv2d_10, p_layer2_0_red_in_residual_encoder_1_weight, p_layer2_0_red_in_residual_encoder_1_bias, b_layer2_0_red_in_residual_encoder_1_running_mean, b_layer2_0_red_in_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_10 = p_layer2_0_red_in_residual_encoder_1_weight = p_layer2_0_red_in_residual_encoder_1_bias = b_layer2_0_red_in_residual_encoder_1_running_mean = b_layer2_0_red_in_residual_encoder_1_running_var = None
    relu6_3 = torch.ops.aten.relu6.default(batch_norm_10);  batch_norm_10 = None
    add_3 = torch.ops.aten.add.Tensor(mul_3, relu6_3);  mul_3 = relu6_3 = None
    conv2d_11 = torch.ops.aten.conv2d.default(add_3, p_layer2_0_layer_conv1_weight, None, [2, 2], [1, 1]);  p_layer2_0_layer_conv1_weight = None
    batch_norm_11 = torch.ops.aten.batch_norm.default(conv2d_11, p_layer2_0_layer_bn1_weight, p_layer2_0_layer_bn1_bias, b_layer2_0_layer_bn1_running_mean, b_layer2_0_layer_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_11 = p_layer2_0_layer_bn1_weight = p_layer2_0_layer_bn1_bias = b_layer2_0_layer_bn1_running_mean = b_layer2_0_layer_bn1_running_var = None
    relu__3 = torch.ops.aten.relu_.default(batch_norm_11);  batch_norm_11 = None
    conv2d_12 = torch.ops.aten.conv2d.default(relu__3, p_layer2_0_layer_conv2_weight, None, [1, 1], [1, 1]);  relu__3 = p_layer2_0_layer_conv2_weight = None
    batch_norm_12 = torch.ops.aten.batch_norm.default(conv2d_12, p_layer2_0_layer_bn2_weight, p_layer2_0_layer_bn2_bias, b_layer2_0_layer_bn2_running_mean, b_layer2_0_layer_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_12 = p_layer2_0_layer_bn2_weight = p_layer2_0_layer_bn2_bias = b_layer2_0_layer_bn2_running_mean = b_layer2_0_layer_bn2_running_var = None
    conv2d_13 = torch.ops.aten.conv2d.default(add_3, p_layer2_0_layer_downsample_0_weight, None, [2, 2]);  add_3 = p_layer2_0_layer_downsample_0_weight = None
    batch_norm_13 = torch.ops.aten.batch_norm.default(conv2d_13, p_layer2_0_layer_downsample_1_weight, p_layer2_0_layer_downsample_1_bias, b_layer2_0_layer_downsample_1_running_mean, b_layer2_0_layer_downsample_1_running_var, False, 0.1, 1e-05, False);  conv2d_13 = p_layer2_0_layer_downsample_1_weight = p_layer2_0_layer_downsample_1_bias = b_layer2_0_layer_downsample_1_running_mean = b_layer2_0_layer_downsample_1_running_var = None
    add__1 = torch.ops.aten.add_.Tensor(batch_norm_12, batch_norm_13);  batch_norm_12 = batch_norm_13 = None
    relu__4 = torch.ops.aten.relu_.default(add__1);  add__1 = None
    conv2d_14 = torch.ops.aten.conv2d.default(relu__4, p_layer2_0_red_out_gate_0_weight);  p_layer2_0_red_out_gate_0_weight = None
    batch_norm_14 = torch.ops.aten.batch_norm.default(conv2d_14, p_layer2_0_red_out_gate_1_weight, p_layer2_0_red_out_gate_1_bias, b_layer2_0_red_out_gate_1_running_mean, b_layer2_0_red_out_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_14 = p_layer2_0_red_out_gate_1_weight = p_layer2_0_red_out_gate_1_bias = b_layer2_0_red_out_gate_1_running_mean = b_layer2_0_red_out_gate_1_running_var = None
    sigmoid_4 = torch.ops.aten.sigmoid.default(batch_norm_14);  batch_norm_14 = None
    mul_4 = torch.ops.aten.mul.Tensor(sigmoid_4, relu__4);  sigmoid_4 = None
    conv2d_15 = torch.ops.aten.conv2d.default(relu__4, p_layer2_0_red_out_residual_encoder_0_weight, None, [1, 1], [1, 1]);  relu__4 = p_layer2_0_red_out_residual_encoder_0_weight = None
    batch_norm_15 = torch.ops.aten.batch_norm.default(conv2d_15, p_layer2_0_red_out_residual_encoder_1_weight, p_layer2_0_red_out_residual_encoder_1_bias, b_layer2_0_red_out_residual_encoder_1_running_mean, b_layer2_0_red_out_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_15 = p_layer2_0_red_out_residual_encoder_1_weight = p_layer2_0_red_out_residual_encoder_1_bias = b_layer2_0_red_out_residual_encoder_1_running_mean = b_layer2_0_red_out_residual_encoder_1_running_var = None
    relu6_4 = torch.ops.aten.relu6.default(batch_norm_15);  batch_norm_15 = None
    add_4 = torch.ops.aten.add.Tensor(mul_4, relu6_4);  mul_4 = relu6_4 = None
    conv2d_16 = torch.ops.aten.conv2d.default(add_4, p_layer3_0_red_in_gate_0_weight);  p_layer3_0_red_in_gate_0_weight = None
    batch_norm_16 = torch.ops.aten.batch_norm.default(conv2d_16, p_layer3_0_red_in_gate_1_weight, p_layer3_0_red_in_gate_1_bias, b_layer3_0_red_in_gate_1_running_mean, b_layer3_0_red_in_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_16 = p_layer3_0_red_in_gate_1_weight = p_layer3_0_red_in_gate_1_bias = b_layer3_0_red_in_gate_1_running_mean = b_layer3_0_red_in_gate_1_running_var = None
    sigmoid_5 = torch.ops.aten.sigmoid.default(batch_norm_16);  batch_norm_16 = None
    mul_5 = torch.ops.aten.mul.Tensor(sigmoid_5, add_4);  sigmoid_5 = None
    conv2d_17 = torch.ops.aten.conv2d.default(add_4, p_layer3_0_red_in_residual_encoder_0_weight, None, [1, 1], [1, 1]);  add_4 = p_layer3_0_red_in_residual_encoder_0_weight = None
    batch_norm_17 = torch.ops.aten.batch_norm.default(conv2d_17, p_layer3_0_red_in_residual_encoder_1_weight, p_layer3_0_red_in_residual_encoder_1_bias, b_layer3_0_red_in_residual_encoder_1_running_mean, b_layer3_0_red_in_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_17 = p_layer3_0_red_in_residual_encoder_1_weight = p_layer3_0_red_in_residual_encoder_1_bias = b_layer3_0_red_in_residual_encoder_1_running_mean = b_layer3_0_red_in_residual_encoder_1_running_var = None
    relu6_5 = torch.ops.aten.relu6.default(batch_norm_17);  batch_norm_17 = None
    add_5 = torch.ops.aten.add.Tensor(mul_5, relu6_5);  mul_5 = relu6_5 = None
    conv2d_18 = torch.ops.aten.conv2d.default(add_5, p_layer3_0_layer_conv1_weight, None, [1, 1], [1, 1]);  p_layer3_0_layer_conv1_weight = None
    batch_norm_18 = torch.ops.aten.batch_norm.default(conv2d_18, p_layer3_0_layer_bn1_weight, p_layer3_0_layer_bn1_bias, b_layer3_0_layer_bn1_running_mean, b_layer3_0_layer_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_18 = p_layer3_0_layer_bn1_weight = p_layer3_0_layer_bn1_bias = b_layer3_0_layer_bn1_running_mean = b_layer3_0_layer_bn1_running_var = None
    relu__5 = torch.ops.aten.relu_.default(batch_norm_18);  batch_norm_18 = None
    conv2d_19 = torch.ops.aten.conv2d.default(relu__5, p_layer3_0_layer_conv2_weight, None, [1, 1], [1, 1]);  relu__5 = p_layer3_0_layer_conv2_weight = None
    batch_norm_19 = torch.ops.aten.batch_norm.default(conv2d_19, p_layer3_0_layer_bn2_weight, p_layer3_0_layer_bn2_bias, b_layer3_0_layer_bn2_running_mean, b_layer3_0_layer_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_19 = p_layer3_0_layer_bn2_weight = p_layer3_0_layer_bn2_bias = b_layer3_0_layer_bn2_running_mean = b_layer3_0_layer_bn2_running_var = None
    conv2d_20 = torch.ops.aten.conv2d.default(add_5, p_layer3_0_layer_downsample_0_weight);  add_5 = p_layer3_0_layer_downsample_0_weight = None
    batch_norm_20 = torch.ops.aten.batch_norm.default(conv2d_20, p_layer3_0_layer_downsample_1_weight, p_layer3_0_layer_downsample_1_bias, b_layer3_0_layer_downsample_1_running_mean, b_layer3_0_layer_downsample_1_running_var, False, 0.1, 1e-05, False);  conv2d_20 = p_layer3_0_layer_downsample_1_weight = p_layer3_0_layer_downsample_1_bias = b_layer3_0_layer_downsample_1_running_mean = b_layer3_0_layer_downsample_1_running_var = None
    add__2 = torch.ops.aten.add_.Tensor(batch_norm_19, batch_norm_20);  batch_norm_19 = batch_norm_20 = None
    relu__6 = torch.ops.aten.relu_.default(add__2);  add__2 = None
    conv2d_21 = torch.ops.aten.conv2d.default(relu__6, p_layer3_0_red_out_gate_0_weight);  p_layer3_0_red_out_gate_0_weight = None
    batch_norm_21 = torch.ops.aten.batch_norm.default(conv2d_21, p_layer3_0_red_out_gate_1_weight, p_layer3_0_red_out_gate_1_bias, b_layer3_0_red_out_gate_1_running_mean, b_layer3_0_red_out_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_21 = p_layer3_0_red_out_gate_1_weight = p_layer3_0_red_out_gate_1_bias = b_layer3_0_red_out_gate_1_running_mean = b_layer3_0_red_out_gate_1_running_var = None
    sigmoid_6 = torch.ops.aten.sigmoid.default(batch_norm_21);  batch_norm_21 = None
    mul_6 = torch.ops.aten.mul.Tensor(sigmoid_6, relu__6);  sigmoid_6 = None
    conv2d_22 = torch.ops.aten.conv2d.default(relu__6, p_layer3_0_red_out_residual_encoder_0_weight, None, [1, 1], [1, 1]);  relu__6 = p_layer3_0_red_out_residual_encoder_0_weight = None
    batch_norm_22 = torch.ops.aten.batch_norm.default(conv2d_22, p_layer3_0_red_out_residual_encoder_1_weight, p_layer3_0_red_out_residual_encoder_1_bias, b_layer3_0_red_out_residual_encoder_1_running_mean, b_layer3_0_red_out_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_22 = p_layer3_0_red_out_residual_encoder_1_weight = p_layer3_0_red_out_residual_encoder_1_bias = b_layer3_0_red_out_residual_encoder_1_running_mean = b_layer3_0_red_out_residual_encoder_1_running_var = None
    relu6_6 = torch.ops.aten.relu6.default(batch_norm_22);  batch_norm_22 = None
    add_6 = torch.ops.aten.add.Tensor(mul_6, relu6_6);  mul_6 = relu6_6 = None
    conv2d_23 = torch.ops.aten.conv2d.default(add_6, p_layer4_0_red_in_gate_0_weight);  p_layer4_0_red_in_gate_0_weight = None
    batch_norm_23 = torch.ops.aten.batch_norm.default(conv2d_23, p_layer4_0_red_in_gate_1_weight, p_layer4_0_red_in_gate_1_bias, b_layer4_0_red_in_gate_1_running_mean, b_layer4_0_red_in_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_23 = p_layer4_0_red_in_gate_1_weight = p_layer4_0_red_in_gate_1_bias = b_layer4_0_red_in_gate_1_running_mean = b_layer4_0_red_in_gate_1_running_var = None
    sigmoid_7 = torch.ops.aten.sigmoid.default(batch_norm_23);  batch_norm_23 = None
    mul_7 = torch.ops.aten.mul.Tensor(sigmoid_7, add_6);  sigmoid_7 = None
    conv2d_24 = torch.ops.aten.conv2d.default(add_6, p_layer4_0_red_in_residual_encoder_0_weight, None, [1, 1], [1, 1]);  add_6 = p_layer4_0_red_in_residual_encoder_0_weight = None
    batch_norm_24 = torch.ops.aten.batch_norm.default(conv2d_24, p_layer4_0_red_in_residual_encoder_1_weight, p_layer4_0_red_in_residual_encoder_1_bias, b_layer4_0_red_in_residual_encoder_1_running_mean, b_layer4_0_red_in_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_24 = p_layer4_0_red_in_residual_encoder_1_weight = p_layer4_0_red_in_residual_encoder_1_bias = b_layer4_0_red_in_residual_encoder_1_running_mean = b_layer4_0_red_in_residual_encoder_1_running_var = None
    relu6_7 = torch.ops.aten.relu6.default(batch_norm_24);  batch_norm_24 = None
    add_7 = torch.ops.aten.add.Tensor(mul_7, relu6_7);  mul_7 = relu6_7 = None
    conv2d_25 = torch.ops.aten.conv2d.default(add_7, p_layer4_0_layer_conv1_weight, None, [2, 2], [1, 1]);  p_layer4_0_layer_conv1_weight = None
    batch_norm_25 = torch.ops.aten.batch_norm.default(conv2d_25, p_layer4_0_layer_bn1_weight, p_layer4_0_layer_bn1_bias, b_layer4_0_layer_bn1_running_mean, b_layer4_0_layer_bn1_running_var, False, 0.1, 1e-05, False);  conv2d_25 = p_layer4_0_layer_bn1_weight = p_layer4_0_layer_bn1_bias = b_layer4_0_layer_bn1_running_mean = b_layer4_0_layer_bn1_running_var = None
    relu__7 = torch.ops.aten.relu_.default(batch_norm_25);  batch_norm_25 = None
    conv2d_26 = torch.ops.aten.conv2d.default(relu__7, p_layer4_0_layer_conv2_weight, None, [1, 1], [1, 1]);  relu__7 = p_layer4_0_layer_conv2_weight = None
    batch_norm_26 = torch.ops.aten.batch_norm.default(conv2d_26, p_layer4_0_layer_bn2_weight, p_layer4_0_layer_bn2_bias, b_layer4_0_layer_bn2_running_mean, b_layer4_0_layer_bn2_running_var, False, 0.1, 1e-05, False);  conv2d_26 = p_layer4_0_layer_bn2_weight = p_layer4_0_layer_bn2_bias = b_layer4_0_layer_bn2_running_mean = b_layer4_0_layer_bn2_running_var = None
    conv2d_27 = torch.ops.aten.conv2d.default(add_7, p_layer4_0_layer_downsample_0_weight, None, [2, 2]);  add_7 = p_layer4_0_layer_downsample_0_weight = None
    batch_norm_27 = torch.ops.aten.batch_norm.default(conv2d_27, p_layer4_0_layer_downsample_1_weight, p_layer4_0_layer_downsample_1_bias, b_layer4_0_layer_downsample_1_running_mean, b_layer4_0_layer_downsample_1_running_var, False, 0.1, 1e-05, False);  conv2d_27 = p_layer4_0_layer_downsample_1_weight = p_layer4_0_layer_downsample_1_bias = b_layer4_0_layer_downsample_1_running_mean = b_layer4_0_layer_downsample_1_running_var = None
    add__3 = torch.ops.aten.add_.Tensor(batch_norm_26, batch_norm_27);  batch_norm_26 = batch_norm_27 = None
    relu__8 = torch.ops.aten.relu_.default(add__3);  add__3 = None
    conv2d_28 = torch.ops.aten.conv2d.default(relu__8, p_layer4_0_red_out_gate_0_weight);  p_layer4_0_red_out_gate_0_weight = None
    batch_norm_28 = torch.ops.aten.batch_norm.default(conv2d_28, p_layer4_0_red_out_gate_1_weight, p_layer4_0_red_out_gate_1_bias, b_layer4_0_red_out_gate_1_running_mean, b_layer4_0_red_out_gate_1_running_var, False, 0.1, 1e-05, False);  conv2d_28 = p_layer4_0_red_out_gate_1_weight = p_layer4_0_red_out_gate_1_bias = b_layer4_0_red_out_gate_1_running_mean = b_layer4_0_red_out_gate_1_running_var = None
    sigmoid_8 = torch.ops.aten.sigmoid.default(batch_norm_28);  batch_norm_28 = None
    mul_8 = torch.ops.aten.mul.Tensor(sigmoid_8, relu__8);  sigmoid_8 = None
    conv2d_29 = torch.ops.aten.conv2d.default(relu__8, p_layer4_0_red_out_residual_encoder_0_weight, None, [1, 1], [1, 1]);  relu__8 = p_layer4_0_red_out_residual_encoder_0_weight = None
    batch_norm_29 = torch.ops.aten.batch_norm.default(conv2d_29, p_layer4_0_red_out_residual_encoder_1_weight, p_layer4_0_red_out_residual_encoder_1_bias, b_layer4_0_red_out_residual_encoder_1_running_mean, b_layer4_0_red_out_residual_encoder_1_running_var, False, 0.1, 1e-05, False);  conv2d_29 = p_layer4_0_red_out_residual_encoder_1_weight = p_layer4_0_red_out_residual_encoder_1_bias = b_layer4_0_red_out_residual_encoder_1_running_mean = b_layer4_0_red_out_residual_encoder_1_running_var = None
    relu6_8 = torch.ops.aten.relu6.default(batch_norm_29);  batch_norm_29 = None
    add_8 = torch.ops.aten.add.Tensor(mul_8, relu6_8);  mul_8 = relu6_8 = None
    adaptive_avg_pool2d = torch.ops.aten.adaptive_avg_pool2d.default(add_8, [1, 1]);  add_8 = None
    flatten = torch.ops.aten.flatten.using_ints(adaptive_avg_pool2d, 1);  adaptive_avg_pool2d = None
    linear = torch.ops.aten.linear.default(flatten, p_fc_weight, p_fc_bias);  flatten = p_fc_weight = p_fc_bias = None
    return linear
